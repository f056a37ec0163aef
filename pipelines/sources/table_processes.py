"""Processes that read a table each: of one that is gone through nothing else can be asked meanwhile."""

import atexit
import contextlib
import threading
from collections.abc import Iterator

from beamscribe.pipelines.sources.table_process import TableProcess

MOST_IDLE = 2
"""That wait for the next table: a job has so many tables in hand, and a process takes a third of a second to start."""


class TableProcesses:
    """Processes that are borrowed for a table.

    Args:
        most_idle: that are kept for the next table.
    """

    def __init__(self, most_idle: int = MOST_IDLE) -> None:
        self._most_idle = most_idle
        self._lock = threading.Lock()
        self._idle: list[TableProcess] = []

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[TableProcess]:
        """One that nobody else has."""
        with self._lock:
            process = self._idle.pop() if self._idle else TableProcess()
        try:
            yield process
        finally:
            process.forget_deaths()
            with self._lock:
                stays = len(self._idle) < self._most_idle
                if stays:
                    self._idle.append(process)
            if not stays:
                process.close()

    def close(self) -> None:
        """Ends those that are idle; one that is borrowed ends when it is given back."""
        with self._lock:
            idle, self._idle, self._most_idle = self._idle, [], 0
        for process in idle:
            process.close()


PROCESSES = TableProcesses()
"""Those of this process that go through tables."""

atexit.register(PROCESSES.close)
