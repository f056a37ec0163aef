"""Shards that were begun and never ended, and the end of a process that makes no progress.

A decoder may kill its process or hang for ever, and no `except` helps against either. So a shard leaves a marker while
it is in hand. A process that finds the marker of earlier attempts knows whether this shard's images are to be read
apart, see `beamscribe.pipelines.images.isolation`.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from beamscribe.errors import STOPPED
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.lease import LeaseLostError
from beamscribe.pipelines.commits.staged_lease import STAGED_TOKEN, keep_staged
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas import manifest
from beamscribe.schemas.receipt import RECEIPTS, Receipt
from beamscribe.storage.advancing import advance
from beamscribe.storage.critical_section import RunStoppedError, is_stopped, refuse_stopped, stop
from beamscribe.storage.heartbeat import Heartbeat, changing
from beamscribe.storage.storage import Entry, Storage
from beamscribe.storage.transient import within

STARTED = f"{manifest.FOLDER}/started"

BEAT_SECONDS = 20.0
"""A marker is written anew so often, so that the launcher sees from afar that somebody has the shard in hand."""

LEAVE_SECONDS = 10.0
"""For what a marker is to say after an attempt that failed."""

LOST_SECONDS, START_SECONDS = 100.0, 900.0
"""Without a sign of any worker after which they count as lost; before the first one, machines may have to start."""


class Marker(NamedTuple):
    """What the marker of a shard in hand says.

    Attributes:
        attempts: at the shard that have not ended, the present one among them.
        suspect: whether one of its images surely ended or hung an attempt.
    """

    attempts: int = 1
    suspect: bool = False

    @property
    def condemns(self) -> bool:
        """Whether the next attempt reads the images apart. A machine that was taken away says nothing of them, which
        would take many times as long one by one; that two are taken away from the same shard is less likely."""
        return self.suspect or self.attempts >= 2

    def to_bytes(self, heartbeat: int = 0) -> bytes:
        """As a file, whose size changes with each beat, so that a listing shows that somebody works."""
        return changing(json.dumps(self._asdict()).encode(), heartbeat)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Marker":
        """Reads one back; older ones say nothing but that they are there."""
        try:
            fields = json.loads(data)
            return cls(int(fields["attempts"]), bool(fields["suspect"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls()


class LivenessReporter:
    """Holds the marker of a shard in hand, and ends the process if nothing comes of it for too long.

    In the process of the launcher, which may be somebody's notebook, it ends the run instead, see `stalls_here`.

    Args:
        output: of the job.
        shard: its name.
        timeout_seconds: without a beat after which the process ends.
    """

    def __init__(self, output: Storage, shard: str, timeout_seconds: float) -> None:
        self._output, self._shard, self._timeout = output, shard, timeout_seconds
        self._name = f"{STARTED}/{shard}"
        self._stays = False
        self._advance = advance()
        self._last_beat = time.monotonic()
        self._beats = 0
        self._watch = Heartbeat(f"liveness {shard}", self._look, self._until_next_look)

    def __enter__(self) -> "LivenessReporter":
        """Sets the marker.

        Attributes of the result say what was there before, see `suspect`.
        """
        keep_staged(self._output)
        before = self._read()
        self.suspect = before is not None and before.condemns
        """Whether earlier attempts never ended, for which an image may be to blame."""
        self._marker = Marker(before.attempts + 1, before.suspect) if before else Marker()
        self._output.write(self._name, self._marker.to_bytes())
        self.heartbeat()
        _in_hand[self._output.run, self._shard] = 0
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the marker away unless the shard ended in an error; it stays as it is where that may be an image's."""
        self._stays = error is not None
        self._watch.stop()
        _in_hand.pop((self._output.run, self._shard), None)
        if not self._stays:
            # A heartbeat that is being written ends first, or takes its marker away itself.
            self._watch.stop(LEAVE_SECONDS)
            self._delete()
        elif isinstance(error, OSError | LeaseLostError):
            # Storage that fails, or another run: this attempt is none.
            self._leave(self._marker._replace(attempts=self._marker.attempts - 1))
        elif isinstance(error, Exception) and not isinstance(error, RunStoppedError):
            self._leave(self._marker._replace(suspect=True))

    def heartbeat(self, items: int = 0) -> None:
        """Something was done.

        Args:
            items: that are done with it.

        Raises:
            RunStoppedError: if the run was stopped in this process, so that nothing more needs to be done.
        """
        refuse_stopped(self._output.run)
        self._last_beat = time.monotonic()
        if items:
            _in_hand[self._output.run, self._shard] += items

    def _until_next_look(self) -> float:
        return min(BEAT_SECONDS, max(0.0, self._last_beat + self._timeout - time.monotonic()))

    def _look(self) -> bool:
        if is_stopped(self._output.run):
            return False
        self._sign()
        # A compressed archive may take long until its first image comes, but bytes of it come all the time.
        if advance() != self._advance:
            self._advance, self._last_beat = advance(), time.monotonic()
        if time.monotonic() - self._last_beat < self._timeout or is_stopped(self._output.run):
            return True
        self._leave(self._marker._replace(suspect=True))
        print(
            f"beamscribe: stopped: shard {self._shard} made no progress for {self._timeout:g} s. Run the same command "
            "again: its images are then read one by one, and the one at fault becomes a failure row (--stall-timeout "
            "sets the patience)",
            file=sys.stderr,
            flush=True,
        )
        if (here := _stalls.get(self._output.run)) is None:
            os._exit(STOPPED)
        here.append(self._shard)
        return False

    def _read(self) -> Marker | None:
        try:
            return Marker.from_bytes(self._output.read(self._name))
        except FileNotFoundError:
            return None

    def _leave(self, marker: Marker) -> None:
        """What the next attempt is to know; storage that does not answer soon leaves it without."""
        with contextlib.suppress(OSError, RunStoppedError, LeaseLostError):
            within(LEAVE_SECONDS, lambda: self._output.write(self._name, marker.to_bytes(self._beats)))

    def _delete(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._output.delete(self._name)

    def _sign(self) -> None:
        self._beats += 1
        # Storage that does not answer now may do so at the next beat.
        with contextlib.suppress(OSError, RunStoppedError, LeaseLostError):
            keep_staged(self._output)
            self._output.write(self._name, self._marker.to_bytes(self._beats))
            if self._watch.stopped and not self._stays:
                # The shard was done meanwhile, and its marker taken away.
                self._delete()


_in_hand: dict[tuple[str, str], int] = {}
"""Run and shard that this process has in hand → items of it that are done and not committed."""


def in_hand(run: str) -> int:
    """Items of a run that are done in this process and not committed yet; other processes have their own.

    Args:
        run: its token.
    """
    return sum(count for (token, _), count in list(_in_hand.items()) if token == run)


_stalls: dict[str, list[str]] = {}
"""Runs that this process launched → their shards that made no progress."""


@contextlib.contextmanager
def stalls_here(run: str) -> Iterator[list[str]]:
    """The shards of a run that make no progress in this process, which is that of its launcher."""
    _stalls[run] = []
    try:
        yield _stalls[run]
    finally:
        # Threads that are left end by themselves, see `LivenessReporter.heartbeat`, and must not end the process. A
        # staged job has not even begun.
        if not run.startswith(STAGED_TOKEN):
            stop(run, timeout_seconds=0.0)
        del _stalls[run]


class Signs(NamedTuple):
    """What one listing of an output shows of its workers.

    Attributes:
        receipts: names of the receipts.
        markers: name and size of each marker, which changes while somebody has the shard in hand.
    """

    receipts: frozenset[str]
    markers: frozenset[Entry]

    @classmethod
    def of(cls, output: Storage) -> "Signs":
        """Lists the folders; reads nothing.

        Raises:
            OSError: if they cannot be listed.
        """
        receipts = frozenset(entry.name for entry in output.files(RECEIPTS, ".json"))
        return cls(receipts, frozenset(output.files(STARTED)))


class LivenessMonitor:
    """Tells from afar whether anybody still works: markers beat, and receipts appear.

    Args:
        output: of the job.
        shards: to be committed in this run; after them an engine may take its time to end.
    """

    def __init__(self, output: Storage, shards: int) -> None:
        self._output = output
        self._seen = Signs.of(output)
        self._all = len(self._seen.receipts) + shards
        self._last_change: float | None = None
        self._began = time.monotonic()

    def lost(self, signs: Signs | None = None) -> bool:
        """Whether no worker has given a sign for so long that there can be none.

        Args:
            signs: as they are now; listed here by default.

        Raises:
            OSError: if the output cannot be listed.
        """
        signs, now = signs or Signs.of(self._output), time.monotonic()
        if signs != self._seen:
            self._seen, self._last_change = signs, now
        if len(signs.receipts) >= self._all:
            return False
        if self._last_change is None:
            return now - self._began > START_SECONDS
        return now - self._last_change > LOST_SECONDS


def commit_watched(shard: Shard, process: Process, run: Run) -> Receipt:
    """As `commit_shard`, in a process that ends if it makes no progress, see `LivenessReporter`.

    Args:
        shard: what to do; the job is told if an earlier attempt at it never ended.
        process: yields one row or `FailureRow` for each reference.
        run: where and how to commit.
    """
    with LivenessReporter(run.output, shard.name, run.stall_timeout_seconds) as reporter:
        return commit_shard(shard._replace(suspect=reporter.suspect), process, run, reporter.heartbeat)


def forget_started(output: Storage) -> None:
    """Removes the markers of shards that were in hand when a run was stopped in order; only its launcher may do so."""
    for entry in output.files(STARTED):
        output.delete(entry.name)


def suspect_started(output: Storage) -> None:
    """Marks all shards in hand as suspect, after a crash of a process that had some of them; only a launcher may."""
    for entry in output.files(STARTED):
        with contextlib.suppress(FileNotFoundError):
            marker = Marker.from_bytes(output.read(entry.name))
            output.write(entry.name, marker._replace(suspect=True).to_bytes())
