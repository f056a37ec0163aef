"""What the end of a run lets finish: a commit of several files, or a file that is half written.

Runs are told apart, since a process may hold several: a notebook starts a run, stops it, and starts the next. What was
stopped is that run alone; threads that still work for it meet `RunStoppedError` as soon as they would write.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple


class _Inside(NamedTuple):
    run: str
    fence: Callable[[], None]


_CHANGED = threading.Condition()
_inside: dict[int, _Inside] = {}
"""Threads in the middle of something, and the run that each works for."""
_stopped: set[str] = set()
_checks: dict[str, Callable[[], None]] = {}


class RunStoppedError(Exception):
    """The run on whose behalf something was to be written was stopped; nothing more is written for it."""


def _always() -> None:
    """No fence: writing is permitted."""


@contextlib.contextmanager
def critical_section(run: str = "", fence: Callable[[], None] = _always) -> Iterator[None]:
    """What is in its body ends before `stop` returns, or never begins. May be nested; the outermost one counts.

    Args:
        run: that it is done for; "" for none, which nobody stops.
        fence: called as the last step before each file that is written in the body becomes visible; what it raises
            keeps the file from becoming so.

    Raises:
        RunStoppedError: if the run was stopped.
        Exception: of the check that the run is `guarded` by.
    """
    thread = threading.get_ident()
    if thread in _inside:
        yield
        return
    if check := _checks.get(run):
        check()
    with _CHANGED:
        refuse_stopped(run)
        _inside[thread] = _Inside(run, fence)
    try:
        yield
    finally:
        with _CHANGED:
            del _inside[thread]
            _CHANGED.notify_all()


def fence_here() -> Callable[[], None]:
    """The fence of what this thread is in the middle of."""
    inside = _inside.get(threading.get_ident())
    return inside.fence if inside else _always


@contextlib.contextmanager
def guarded(run: str, check: Callable[[], None]) -> Iterator[None]:
    """Meanwhile nothing begins for this run in this process before a check, which raises to keep it from beginning."""
    _checks[run] = check
    try:
        yield
    finally:
        _checks.pop(run, None)


def stop(run: str, timeout_seconds: float) -> None:
    """Lets what is in hand for a run end and keeps anything else from beginning, for good.

    Args:
        run: which.
        timeout_seconds: to wait for what is in hand.
    """
    with _CHANGED:
        _stopped.add(run)
        _CHANGED.wait_for(lambda: all(inside.run != run for inside in _inside.values()), timeout_seconds)


def is_stopped(run: str) -> bool:
    """Whether `stop` was called for a run in this process."""
    return run in _stopped


def refuse_stopped(run: str) -> None:
    """Ends the work of a thread for a run that was stopped.

    Raises:
        RunStoppedError: if it was.
    """
    if run in _stopped:
        raise RunStoppedError("the run was stopped")
