"""`beamscribe status --follow`: a running job, looked at again and again until it ends."""

import datetime
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

import rich.progress
from rich.console import Console
from rich.table import Column

from beamscribe.pipelines.outputs.job_status import Status
from beamscribe.pipelines.runtime.progress import INTERVAL_SECONDS, SECONDS_ON_A_TERMINAL, SHARE_OF_A_CORE

LOOKS_IN_VAIN = 5
"""In a row, after which the output counts as unreadable: a file may be replaced while it is read."""


class Shows(Protocol):
    """Shows a status; called with each look."""

    interval_seconds: float

    def __call__(self, found: Status) -> None:
        """Shows it."""


def follow(look: Callable[[], Status], show: Shows, wait: Callable[[float], None] = time.sleep) -> Status:
    """Looks until no run holds the output.

    Args:
        look: at the output.
        show: called with what each look found, but the last.
        wait: for so many seconds.

    Returns:
        What the last look found.

    Raises:
        OSError, ValueError: if the output cannot be read, several times in a row.
    """
    in_vain = 0
    while True:
        begun = time.thread_time()
        try:
            found = look()
            in_vain = 0
            if not found.writer:
                return found
            show(found)
        except (OSError, ValueError):
            in_vain += 1
            if in_vain == LOOKS_IN_VAIN:
                raise
        # The more there is to look at, the longer until the next time.
        wait(max(show.interval_seconds, (time.thread_time() - begun) / SHARE_OF_A_CORE))


def pace(found: Status) -> str:
    """Failures, items a second and the time that is left."""
    told = [f"{len(found.failures):,} failed"]
    told.append(f"{found.a_second:.1f} a second" if found.a_second else "nothing committed yet")
    if found.seconds_left is not None:
        told.append(f"{datetime.timedelta(seconds=round(found.seconds_left))} left")
    return ", ".join(told)


class ShownAsBar:
    """A bar on a terminal, as the job itself shows one; as a context manager.

    Args:
        console: the terminal.
        local: whether the output is on a local disk: elsewhere a look costs a listing, and somebody may pay for it.
    """

    def __init__(self, console: Console, local: bool) -> None:
        self.interval_seconds = SECONDS_ON_A_TERMINAL if local else INTERVAL_SECONDS
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            rich.progress.BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            rich.progress.TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
            rich.progress.TextColumn("{task.fields[pace]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
            expand=True,
        )
        self._task: Any = None

    def __enter__(self) -> "ShownAsBar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, found: Status) -> None:
        """Moves the bar."""
        done = found.done + len(found.failures)
        if self._task is None:
            self._task = self._bar.add_task(found.job, total=None, done="", pace="")
        # Without a total it moves, which says that somebody works though nothing is committed.
        total = found.asked if done else None
        told = f"{done:,}/{found.asked:,}"
        self._bar.update(self._task, completed=done, total=total, done=told, pace=pace(found))


class ShownAsLines:
    """A line with each look, for files and programs."""

    interval_seconds = INTERVAL_SECONDS

    def __init__(self, tell: Callable[[str], object], as_json: bool) -> None:
        self._tell = tell
        self._as_json = as_json

    def __enter__(self) -> "ShownAsLines":
        return self

    def __exit__(self, *error: object) -> None:
        """Lines need no end."""

    def __call__(self, found: Status) -> None:
        """Tells the line."""
        done = found.done + len(found.failures)
        self._tell(
            json.dumps(found.as_fields())
            if self._as_json
            else f"beamscribe {found.job}: {done:,} of {found.asked:,} done, {pace(found)}"
        )
