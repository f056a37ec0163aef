"""Shards that were begun and never ended, and the end of a process that makes no progress.

A decoder may kill its process or hang for ever, and no `except` helps against either. So a shard leaves a marker while
it is in hand. Whoever finds the marker of an earlier attempt knows that this shard's images are to be read apart, see
`pipelines.images.isolation`.
"""

import contextlib
import os
import sys
import threading
import time
from types import TracebackType

from model.storage import Storage
from pipelines.commits.commit import RECEIPTS, Process, Receipt, Run, commit_shard
from pipelines.commits.shards import Shard
from schemas import manifest
from schemas.command import STOPPED

STARTED = f"{manifest.FOLDER}/started"

BEAT_SECONDS = 20.0
"""A marker is written anew so often, so that the launcher sees from afar that somebody has the shard in hand."""

LOST_SECONDS, START_SECONDS = 100.0, 900.0
"""Without a sign of any worker after which they count as lost; before the first one, machines may have to start."""


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
        self._stays = False
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
        self._stays = error is not None
        self._ended.set()
        if not self._stays:
            self._output.delete(self._marker)

    def beat(self) -> None:
        """Something was done."""
        self._last_beat = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(min(BEAT_SECONDS, max(0.0, self._last_beat + self._timeout - time.monotonic()))):
            self._sign()
            if time.monotonic() - self._last_beat >= self._timeout:
                print(
                    f"beamscribe: stopped: shard {self._shard} made no progress for {self._timeout:g} s. Run the same "
                    "command again: its images are then read one by one, and the one at fault becomes a failure row "
                    "(--stall-timeout sets the patience)",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(STOPPED)

    def _sign(self) -> None:
        # Storage that does not answer now may do so at the next beat.
        with contextlib.suppress(OSError):
            self._output.write(self._marker, str(time.time()).encode())
            if self._ended.is_set() and not self._stays:
                # The shard was done meanwhile, and its marker taken away.
                self._output.delete(self._marker)


class Lookout:
    """Tells from afar whether anybody still works: markers beat, and receipts appear.

    Args:
        output: of the job.
        shards: to be committed in this run; after them an engine may take its time to end.
    """

    def __init__(self, output: Storage, shards: int) -> None:
        self._output = output
        self._seen = self._signs()
        self._all = self._seen[0] + shards
        self._last_change: float | None = None
        self._began = time.monotonic()

    def lost(self) -> bool:
        """Whether no worker has given a sign for so long that there can be none.

        Raises:
            OSError: if the output cannot be read.
        """
        signs, now = self._signs(), time.monotonic()
        if signs != self._seen:
            self._seen, self._last_change = signs, now
        if signs[0] >= self._all:
            return False
        if self._last_change is None:
            return now - self._began > START_SECONDS
        return now - self._last_change > LOST_SECONDS

    def _signs(self) -> tuple[int, dict[str, bytes]]:
        markers = {}
        for entry in self._output.files(STARTED):
            with contextlib.suppress(FileNotFoundError):
                markers[entry.name] = self._output.read(entry.name)
        return len(self._output.files(RECEIPTS)), markers


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
