"""Beam engines in processes of their own, on free ports of this machine, for as long as a test needs them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

CHECKOUT = Path(__file__).resolve().parents[2]
JAVA_OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        "java.lang",
        "java.lang.invoke",
        "java.io",
        "java.net",
        "java.nio",
        "java.time",
        "java.util",
        "java.util.concurrent",
        "java.util.concurrent.atomic",
        "sun.nio.ch",
        "sun.util.calendar",
    )
]
"""What Flink and Spark reach into by reflection; Java 17 lets nobody in by itself."""


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        process: its process.
        port: that it listens on.
    """

    process: psutil.Process
    port: int

    def workers(self) -> list[psutil.Process]:
        """The processes that it has started."""
        return self.process.children(recursive=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def serving(command: Sequence[str], port: int, log: Path, timeout_seconds: float = 90) -> Iterator[Server]:
    """Starts a server, waits until it listens, and ends it with all that it has started."""
    environment = os.environ | {
        "PYTHONPATH": str(CHECKOUT),
        # Beam's worker pool starts `python`, whichever comes first.
        "PATH": os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])),
    }
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + timeout_seconds
        while not _listens(port):
            assert process.poll() is None, f"{command[:3]} ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < until, f"{command[:3]} does not listen: {log.read_text()[-2000:]}"
            time.sleep(0.1)
        yield Server(psutil.Process(process.pid), port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def worker_pool(log: Path) -> contextlib.AbstractContextManager[Server]:
    """Beam's pool of Python workers, which engines ask for one."""
    port = free_port()
    return serving([sys.executable, "-m", POOL, f"--service_port={port}"], port, log)


POOL = "apache_beam.runners.worker.worker_pool_main"


def python_job_service(log: Path) -> contextlib.AbstractContextManager[Server]:
    """Beam's job service in Python."""
    port = free_port()
    return serving([sys.executable, "-m", JOB_SERVICE, f"--port={port}"], port, log)


JOB_SERVICE = "apache_beam.runners.portability.local_job_service_main"


def java_job_server(jars: str, main: str, flags: Sequence[str], log: Path) -> contextlib.AbstractContextManager[Server]:
    """A job server of Beam's for Flink or Spark."""
    port = free_port()
    ports = [f"--job-port={port}", f"--artifact-port={free_port()}", f"--expansion-port={free_port()}"]
    command = ["java", "-Xmx1g", *JAVA_OPENS, "-cp", f"{jars}/*", main, *ports, *flags]
    return serving(command, port, log)
