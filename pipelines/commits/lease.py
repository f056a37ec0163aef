"""One writer at a time: a lease with a heartbeat in the output's `_beamscribe/` folder."""

import datetime
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

import psutil

from model.storage import Storage
from schemas import manifest
from schemas.command import RefusedError

FILE = f"{manifest.FOLDER}/lease.json"
HEARTBEAT_SECONDS = 20.0
DEAD_AFTER_SECONDS = 120.0
"""A lease without a heartbeat for so long is taken over."""
HELD_SECONDS = 5.0


@dataclass
class Lease:
    """Holds an output against a second writer, as a context manager.

    A dead lease (no heartbeat for two minutes, or a process of this machine that is gone) is taken over by itself.

    Attributes:
        output: the folder to hold.
    """

    output: Storage
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        """Takes the lease.

        Raises:
            RefusedError: if another run holds it, or the output cannot be written.
        """
        while not self._create():
            holder = self.holder()
            if holder is None:
                continue
            if not holder.dead():
                raise RefusedError(
                    f"{self.output.uri()} is being written by process {holder.process} on {holder.host} "
                    f"(heartbeat {holder.heartbeat}): wait for it or stop it; a dead run's lease is taken over "
                    f"two minutes after its last heartbeat, or at once by deleting {self.output.uri(FILE)}"
                )
            self._clear(holder)
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lease back, unless it was taken over meanwhile."""
        self._stop.set()
        if self._thread:
            # A heartbeat that an interrupt holds back never comes, see `model.unbroken`.
            self._thread.join(HELD_SECONDS)
        if self._held():
            self.output.delete(FILE)

    def _create(self) -> bool:
        try:
            return self.output.create(FILE, self._content())
        except OSError as error:
            raise RefusedError(f"{self.output.uri()} cannot be written: {error}") from error

    def _content(self) -> bytes:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        return json.dumps(Holder(socket.gethostname(), os.getpid(), self._token, now)._asdict()).encode()

    def holder(self) -> "Holder | None":
        """Who holds the lease; None if it was given back between our look and now."""
        for _ in range(5):
            try:
                return Holder.from_json(self.output.read(FILE))
            except FileNotFoundError:
                return None
            except ValueError:
                # Object stores may show half of what is being written.
                time.sleep(0.1)
        return _DAMAGED

    def _clear(self, dead: "Holder") -> None:
        """Takes a dead lease away; by renaming it, so that of two runs only one does, and never with a live one."""
        taken = f"{FILE}.{self._token}"
        try:
            self.output.rename(FILE, taken)
        except FileNotFoundError:
            return
        content = self.output.read(taken)
        if dead is not _DAMAGED and Holder.from_json(content) != dead:
            self.output.create(FILE, content)
        self.output.delete(taken)

    def _held(self) -> bool:
        holder = self.holder()
        return holder is not None and holder.token == self._token

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            if not self._held():
                return
            self.output.write(FILE, self._content())


class Holder(NamedTuple):
    """What a lease says: who holds it, and when its heart last beat (ISO 8601)."""

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
            holder = cls(**json.loads(data))
            datetime.datetime.fromisoformat(holder.heartbeat)
            return holder._replace(process=int(holder.process))
        except TypeError as error:
            raise ValueError(f"not a lease: {error}") from error

    def dead(self) -> bool:
        """Whether nobody is behind the lease any more."""
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(self.heartbeat)
        if age.total_seconds() > DEAD_AFTER_SECONDS:
            return True
        return self.host == socket.gethostname() and not psutil.pid_exists(self.process)


_DAMAGED = Holder("", 0, "", "1970-01-01T00:00:00+00:00")
"""Stands for a lease that cannot be read, which is dead."""
