"""One writer at a time: a lease with a heartbeat in the output's `_beamscribe/` folder.

A run that was suspended, or whose storage did not answer for minutes, may have lost its lease without noticing. So
every process that commits for it, on any machine, looks at the lease as the last step before each file of a commit
becomes visible (`confirm_lease` in `staged_lease.py`). On a disk that leaves no gap: the run that takes a lease over
removes the temporaries of the one before, so a writer that is suspended between its look and its rename has nothing to
rename any more.
"""

import contextlib
import datetime
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

import psutil

from beamscribe.errors import RefusedError
from beamscribe.schemas import manifest
from beamscribe.storage.critical_section import critical_section, guarded, stop
from beamscribe.storage.heartbeat import Heartbeat
from beamscribe.storage.storage import Storage

FILE = f"{manifest.FOLDER}/lease.json"
HEARTBEAT_SECONDS = 20.0
DEAD_AFTER_SECONDS = 120.0
"""A lease without a heartbeat for so long is taken over."""

MARGIN = 0.25
"""The share of that time which is left as a margin; a run that could not renew its lease gives it up so much earlier
than others take it over."""

HELD_SECONDS = 5.0
FAR_FUTURE_SECONDS = 86_400.0
"""A heartbeat that lies so far ahead is no clock that is wrong, but damage."""

STAGED = "a staged job"
"""Stands for the host in the lease of a job that runs without its launcher."""


def _clock() -> float:
    """Seconds that go on while this process, or the whole machine, sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseLostError(Exception):
    """Another run writes the output by now, or may do so at any moment: nothing more may be committed for this one."""


@dataclass
class Lease:
    """Holds an output against a second writer, as a context manager.

    A dead lease (no heartbeat for two minutes, or a process of this machine that is gone) is taken over by itself.

    Attributes:
        output: the folder to hold.
        token: tells this lease from all others; a `Storage` whose `run` it is writes for the holder.
        heartbeat: renews it; None before it is taken.
        why_lost: why it was lost; empty as long as it was not.
    """

    output: Storage
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    heartbeat: Heartbeat | None = None
    _renewing: Any = field(default_factory=threading.Lock)
    _renewed: float = 0.0
    _ended: bool = False
    why_lost: str = ""
    _guard: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> "Lease":
        """Takes the lease.

        Raises:
            RefusedError: if another run holds it, or the output cannot be written.
        """
        self._renewed = _clock()
        while not self._create():
            holder = read_holder(self.output)
            if holder is None:
                continue
            if not holder.dead():
                raise RefusedError(
                    f"{self.output.uri()} is being written by {holder} "
                    f"(heartbeat {holder.heartbeat}): wait for it or stop it; a dead run's lease is taken over "
                    f"two minutes after its last heartbeat, or at once by deleting {self.output.uri(FILE)}"
                )
            clear_dead(self.output, holder, self.token)
            self._renewed = _clock()
        self.heartbeat = Heartbeat("lease-heartbeat", self._beat, lambda: HEARTBEAT_SECONDS)
        self.heartbeat.start()
        self._guard.enter_context(guarded(self.token, self.check))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lease back, unless it was taken over meanwhile."""
        self._ended = True
        self._guard.close()
        if self.heartbeat:
            self.heartbeat.stop(HELD_SECONDS)
        if self._held():
            self.output.delete(FILE)

    def check(self) -> None:
        """Asks the storage only if the lease has not been renewed for long, as after a sleep of this process.

        Raises:
            LeaseLostError: if the lease was lost, or cannot be renewed before others take it for dead.
        """
        if not self.why_lost and self._is_late():
            self.confirm()
        if self.why_lost:
            raise LeaseLostError(self.why_lost)

    def confirm(self) -> None:
        """Renews the lease now.

        Raises:
            LeaseLostError: if it was lost, or the storage does not let it be renewed.
        """
        # The heartbeat may be waiting for its storage.
        if self._renewing.acquire(timeout=HELD_SECONDS):
            try:
                self._renew()
            except OSError as error:
                if self._is_late():
                    self._lose(f"{self.output.uri(FILE)} could not be renewed for {self._age():.0f} s: {error}")
            finally:
                self._renewing.release()
        elif self._is_late():
            self._lose(f"{self.output.uri(FILE)} could not be renewed for {self._age():.0f} s: no answer")
        if self.why_lost:
            raise LeaseLostError(self.why_lost)

    def _held(self) -> bool:
        holder = read_holder(self.output)
        return holder is not None and holder.token == self.token

    def _age(self) -> float:
        return _clock() - self._renewed

    def _is_late(self) -> bool:
        return self._age() > DEAD_AFTER_SECONDS * (1 - MARGIN)

    def _create(self) -> bool:
        try:
            return self.output.create(FILE, lease_content(self.token))
        except OSError as error:
            raise RefusedError(f"{self.output.uri()} cannot be written: {error}") from error

    def _renew(self) -> None:
        """Writes a heartbeat, or finds out that the lease is another's by now."""
        if self.why_lost or self._ended:
            return
        begun = _clock()
        if (taken := renew(self.output, self.token, lease_content(self.token))) is not None:
            self._lose(f"{self.output.uri()} is being written by {taken}, which took over since the last heartbeat")
        else:
            self._renewed = begun

    def _lose(self, why: str) -> None:
        self.why_lost = why
        # Threads that commit for this run in this process find it stopped, whenever the launcher finds out.
        stop(self.token, timeout_seconds=0.0)

    def _beat(self) -> bool:
        # Of storage that does not answer, `check` finds out when it is too late.
        with self._renewing:
            self._renew()
        return not self.why_lost


class Holder(NamedTuple):
    """What a lease says: who holds it, and when it was last renewed (ISO 8601, with its offset from UTC)."""

    host: str
    process: int
    token: str
    heartbeat: str

    @classmethod
    def from_json(cls, data: bytes) -> "Holder":
        """Reads a lease.

        Raises:
            ValueError: if it is none.
        """
        try:
            fields = json.loads(data)
            holder = cls(**fields)
            if [type(value) for value in holder] != [str, int, str, str] or not 0 <= holder.process < 2**31:
                raise ValueError(f"not a lease: fields of the types {[type(value).__name__ for value in holder]}")
            if datetime.datetime.fromisoformat(holder.heartbeat).utcoffset() is None:
                raise ValueError(f"not a lease: {holder.heartbeat} has no offset from UTC")
            return holder
        except (TypeError, RecursionError) as error:
            raise ValueError(f"not a lease: {error}") from error

    def age_seconds(self) -> float:
        """Since the last heartbeat, by this machine's clock."""
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(self.heartbeat)
        return age.total_seconds()

    def dead(self) -> bool:
        """Whether no process renews the lease any more."""
        if not -FAR_FUTURE_SECONDS < self.age_seconds() <= DEAD_AFTER_SECONDS:
            return True
        return self.host == socket.gethostname() and not psutil.pid_exists(self.process)

    def __str__(self) -> str:
        return STAGED if self.host == STAGED else f"process {self.process} on {self.host}"


_DAMAGED = Holder("", 0, "", "1970-01-01T00:00:00+00:00")
"""Stands for a lease that cannot be read, which is dead."""


def read_holder(output: Storage) -> Holder | None:
    """Who holds an output; None if no run does.

    Raises:
        OSError: if the storage does not say.
    """
    for _ in range(5):
        try:
            return Holder.from_json(output.read(FILE))
        except FileNotFoundError:
            return None
        except ValueError:
            # Object stores may show half of what is being written.
            time.sleep(0.1)
    return _DAMAGED


def lease_content(token: str, host: str = "", process: int | None = None) -> bytes:
    """A lease as it is stored, with a heartbeat of this moment; of this process by default."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    holder = Holder(host or socket.gethostname(), os.getpid() if process is None else process, token, now)
    return json.dumps(holder._asdict()).encode()


def renew(output: Storage, token: str, content: bytes) -> Holder | None:
    """Writes a heartbeat into a lease; into one that was deleted too, unless another run takes it first.

    Returns:
        None, or who holds the lease by now.

    Raises:
        OSError: if the storage does not let it be read or written.
    """
    holder = read_holder(output)
    if holder is None and output.create(FILE, content):
        return None
    holder = holder or read_holder(output)
    if holder is None or holder.token != token:
        return holder or _DAMAGED
    try:
        # A process that is suspended between the check and the write must not write over the lease of the next run.
        with critical_section(fence=lambda: confirm_held(output, token)):
            output.write(FILE, content)
    except LeaseLostError:
        return read_holder(output) or _DAMAGED
    return None


def clear_dead(output: Storage, dead: Holder, token: str) -> None:
    """Takes a dead lease away; by renaming it, so that of two runs only one does, and never with a live one."""
    taken = f"{FILE}.{token}"
    try:
        output.rename(FILE, taken)
    except FileNotFoundError:
        return
    content = output.read(taken)
    if dead is not _DAMAGED and not _says(content, dead):
        output.create(FILE, content)
    output.delete(taken)


def _says(content: bytes, holder: Holder) -> bool:
    try:
        return Holder.from_json(content) == holder
    except ValueError:
        return False


def confirm_held(output: Storage, token: str) -> None:
    """Looks whether a run still holds an output.

    Raises:
        LeaseLostError: if another run does, or none.
        OSError: if the storage does not say.
    """
    holder = read_holder(output)
    if holder is None or holder.token != token:
        who = f"is being written by {holder}" if holder else "is not held by any run"
        raise LeaseLostError(f"{output.uri()} {who} by now: nothing more is committed for the run that held it before")
