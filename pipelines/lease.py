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

from pipelines.storage import Storage
from schemas import manifest
from schemas.command import RefusedError

FILE = f"{manifest.FOLDER}/lease.json"
HEARTBEAT_SECONDS = 20.0
DEAD_AFTER_SECONDS = 120.0
"""A lease without a heartbeat for so long is taken over."""


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
            holder = self._holder()
            if holder is None:
                continue
            if not _dead(holder):
                raise RefusedError(
                    f"{self.output.uri()} is being written by process {holder['process']} on {holder['host']} "
                    f"(heartbeat {holder['heartbeat']}): wait for it or stop it; a dead run's lease is taken over "
                    f"two minutes after its last heartbeat, or at once by deleting {self.output.uri(FILE)}"
                )
            self.output.delete(FILE)
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lease back, unless it was taken over meanwhile."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        if self._held():
            self.output.delete(FILE)

    def _create(self) -> bool:
        try:
            return self.output.create(FILE, self._content())
        except OSError as error:
            raise RefusedError(f"{self.output.uri()} cannot be written: {error}") from error

    def _content(self) -> bytes:
        return json.dumps(
            {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "token": self._token,
                "heartbeat": datetime.datetime.now(datetime.UTC).isoformat(),
            }
        ).encode()

    def _holder(self) -> dict[str, str] | None:
        try:
            return json.loads(self.output.read(FILE))
        except (FileNotFoundError, json.JSONDecodeError):
            # Given back, or rewritten, between our look and now.
            time.sleep(0.1)
            return None

    def _held(self) -> bool:
        holder = self._holder()
        return holder is not None and holder["token"] == self._token

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            if not self._held():
                return
            self.output.write(FILE, self._content())


def _dead(holder: dict[str, str]) -> bool:
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(holder["heartbeat"])
    if age.total_seconds() > DEAD_AFTER_SECONDS:
        return True
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
