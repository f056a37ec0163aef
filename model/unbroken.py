"""What an interrupt lets end: a commit of several files, or a file that is half written."""

import contextlib
import threading
from collections.abc import Iterator

_CHANGED = threading.Condition()
_inside: set[int] = set()
"""Threads in the middle of something."""
_held = threading.Event()


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """What is in its body ends before `hold` returns, or never begins. May be nested."""
    thread = threading.get_ident()
    if thread in _inside:
        yield
        return
    with _CHANGED:
        _CHANGED.wait_for(lambda: not _held.is_set())
        _inside.add(thread)
    try:
        yield
    finally:
        with _CHANGED:
            _inside.discard(thread)
            _CHANGED.notify_all()


def hold(timeout_seconds: float) -> None:
    """Lets what is in hand end and keeps anything else from beginning, in a process that is about to end."""
    with _CHANGED:
        _held.set()
        _CHANGED.wait_for(lambda: not _inside, timeout_seconds)
