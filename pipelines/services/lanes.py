"""How many processes of a job are asking the service now, told from a folder that all of them see.

No runner says how many workers it has, and their number changes. So each process that asks holds a lane: a file in
`_beamscribe/lanes/`, whose size changes with every heartbeat, so that one listing tells the living from the dead. Each
lane keeps the budget divided by the lanes there are: one that joins waits until the others must have seen it, one that
leaves gives its share to the rest.
"""

import threading
import time
import uuid

from beamscribe.schemas import manifest
from beamscribe.storage.critical_section import is_stopped
from beamscribe.storage.heartbeat import Heartbeat, changing
from beamscribe.storage.storage import Storage

FOLDER = f"{manifest.FOLDER}/lanes"
LOCAL_HEARTBEAT_SECONDS = 1.0
REMOTE_HEARTBEAT_SECONDS = 10.0
"""A listing and a put each: twenty days of it are some 350,000 requests to an object store, less than 2 dollars."""
IDLE_HEARTBEATS = 3
"""Without a request after which a lane is given back."""
DEAD_AFTER_HEARTBEATS = 20


class Lanes:
    """This process's lane, held while it asks and given back when it has not asked for a while.

    Args:
        output: of the job.
        run: names the run; lanes of other runs are leftovers of killed ones.
        heartbeat_seconds: by default what the storage can bear.
    """

    def __init__(self, output: Storage, run: str, heartbeat_seconds: float | None = None) -> None:
        self._output = output
        self._run = run
        default = LOCAL_HEARTBEAT_SECONDS if output.local else REMOTE_HEARTBEAT_SECONDS
        self._heartbeat = default if heartbeat_seconds is None else heartbeat_seconds
        self._joining = threading.Lock()
        self._name = f"{FOLDER}/{run}-{uuid.uuid4().hex[:12]}"
        self._beating: Heartbeat | None = None
        self._beats = 0
        self._last_used = 0.0
        self._others = 0
        self._seen: dict[str, tuple[int, float]] = {}

    def count(self) -> int:
        """How many lanes there are, this one among them; joins first if this process holds none."""
        with self._joining:
            self._last_used = time.monotonic()
            if self._beating is None:
                self._join()
        return self._others + 1

    def leave(self) -> None:
        """Gives the lane back, if this process holds one."""
        with self._joining:
            if self._beating is not None:
                self._leave(self._beating)

    def _join(self) -> None:
        for entry in self._output.files(FOLDER):
            if not entry.name.startswith(f"{FOLDER}/{self._run}-"):
                self._output.delete(entry.name)
        self._output.write(self._name, b".")
        self._look()
        if self._others:
            # All of them look within a heartbeat, and none of them then keeps a share that is ours.
            time.sleep(2 * self._heartbeat)
            self._look()
        self._beating = beating = Heartbeat("lane", lambda: self._beat(beating), lambda: self._heartbeat)
        beating.start()

    def _look(self) -> None:
        now = time.monotonic()
        sizes = {entry.name: entry.size for entry in self._output.files(FOLDER) if self._is_other(entry.name)}
        self._seen = {
            name: self._seen[name] if name in self._seen and self._seen[name][0] == size else (size, now)
            for name, size in sizes.items()
        }
        dead_before = now - DEAD_AFTER_HEARTBEATS * self._heartbeat
        self._others = sum(changed >= dead_before for _, changed in self._seen.values())

    def _is_other(self, name: str) -> bool:
        return name.startswith(f"{FOLDER}/{self._run}-") and name != self._name

    def _beat(self, beating: Heartbeat) -> bool:
        """Shows the others that this process asks; after an error of the storage the shares stay as they are."""
        if is_stopped(self._output.run):
            return False
        with self._joining:
            if beating.stopped:
                return False
            if time.monotonic() - self._last_used > IDLE_HEARTBEATS * self._heartbeat:
                self._leave(beating)
                return False
            self._beats += 1
            self._output.write(self._name, changing(b".", self._beats))
        self._look()
        return True

    def _leave(self, beating: Heartbeat) -> None:
        beating.stop()
        self._beating = None
        self._output.delete(self._name)
