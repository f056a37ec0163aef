"""Shards that were begun and never ended, and the end of a process that makes no progress.

A decoder may kill its process or hang for ever, and no `except` helps against either. So a shard leaves a marker while
it is in hand. Whoever finds the marker of an earlier attempt knows that this shard's images are to be read apart, see
`pipelines.isolation`.
"""

import os
import sys
import threading
import time
from types import TracebackType

from model.storage import Storage
from pipelines.commit import Process, Receipt, Run, commit_shard
from pipelines.shards import Shard
from schemas import manifest
from schemas.command import STOPPED

STARTED = f"{manifest.FOLDER}/started"


class Watchdog:
    """Holds the marker of a shard in hand, and ends the process if nothing comes of it for too long.

    Args:
        output: of the job.
        shard: its name.
        timeout_seconds: without a beat after which the process ends.
    """

    def __init__(self, output: Storage, shard: str, timeout_seconds: float) -> None:
        self._output, self._shard, self._timeout = output, shard, timeout_seconds
        self._marker = f"{STARTED}/{shard}"
        self._ended = threading.Event()
        self._last_beat = time.monotonic()

    def __enter__(self) -> "Watchdog":
        """Sets the marker.

        Attributes of the result say what was there before, see `suspect`.
        """
        self.suspect = self._output.exists(self._marker)
        """Whether an earlier attempt never ended."""
        if not self.suspect:
            self._output.write(self._marker, b"")
        self.beat()
        threading.Thread(target=self._watch, name=f"watchdog {self._shard}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the marker away unless the shard ended in an error, which may be that of an image."""
        self._ended.set()
        if error is None:
            self._output.delete(self._marker)

    def beat(self) -> None:
        """Something was done."""
        self._last_beat = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(max(0.0, self._last_beat + self._timeout - time.monotonic())):
            if time.monotonic() - self._last_beat >= self._timeout:
                print(
                    f"beamscribe: stopped: shard {self._shard} made no progress for {self._timeout:g} s. Run the same "
                    "command again: its images are then read one by one, and the one at fault becomes a failure row "
                    "(--stall-timeout sets the patience)",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(STOPPED)


def commit_watched(shard: Shard, process: Process, run: Run) -> Receipt:
    """As `commit_shard`, in a process that ends if it makes no progress.

    Args:
        shard: what to do; the job is told if an earlier attempt at it never ended.
        process: yields one row or `FailureRow` for each reference.
        run: where and how to commit.
    """
    with Watchdog(run.output, shard.name, run.stall_timeout_seconds) as watchdog:
        return commit_shard(shard._replace(suspect=watchdog.suspect), process, run, watchdog.beat)


def forget_started(output: Storage) -> None:
    """Removes the markers of shards that were in hand when a run was stopped in peace; only its launcher may do so."""
    for entry in output.files(STARTED):
        output.delete(entry.name)
