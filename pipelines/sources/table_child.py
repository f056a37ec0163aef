"""The process that reads tables, as the one that asks it sees it: started when it is needed, ended when it has to."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

SECONDS = 100.0
"""That the process may be silent: less than reading a member may take, see `storage.transient.TIMEOUT_SECONDS`."""

COMMAND = (
    "import sys; from beamscribe.pipelines.sources.table_server import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"
)


class TableChild:
    """A process that runs `beamscribe.pipelines.sources.table_server`, or none."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return self._process.pid if self._process else None

    def started(self) -> Connection:
        """A pipe to the process, which is started if none is alive."""
        if self._process is not None and self._pipe is not None and self._process.poll() is None:
            return self._pipe
        self.end()
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            # It takes memory as it is needed, so that the limit means what it says.
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "MALLOC_ARENA_MAX": "2",
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._pipe = Connection(ours.detach())
        return self._pipe

    def message(self) -> tuple[bytes, bytes]:
        """The first byte and the rest of what the process says next.

        Raises:
            EOFError: if it has died, or has to be ended because it takes too long.
        """
        try:
            if self._pipe is None or not self._pipe.poll(SECONDS):
                raise EOFError
            message = self._pipe.recv_bytes()
        except OSError:
            raise EOFError from None
        return message[:1], message[1:]

    def end(self) -> str:
        """Ends the process and says how it ended."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is None:
            return "not started"
        with contextlib.suppress(subprocess.TimeoutExpired):
            # What has crashed may still be about to die.
            process.wait(0.2)
        alive = process.poll() is None
        process.kill()
        code = process.wait()
        if alive:
            return f"it took more than {SECONDS:.0f} s"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
