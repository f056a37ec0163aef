"""Beam engines in processes of their own, on free ports of this machine, for as long as a test needs them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
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
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process and ends it with all that it has started."""
    environment = os.environ | {
        "PYTHONPATH": str(CHECKOUT),
        # Beam's worker pool starts `python`, whichever comes first.
        "PATH": os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])),
    }
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def serving(
    command: Sequence[str], port: int, log: Path, timeout_seconds: float = 90, host: str = "127.0.0.1"
) -> Iterator[Server]:
    """Starts a server and waits until it listens."""
    with running(command, log) as process:
        until = time.monotonic() + timeout_seconds
        while not _listens(host, port):
            assert process.poll() is None, f"{command[:3]} ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < until, f"{command[:3]} does not listen: {log.read_text()[-2000:]}"
            time.sleep(0.1)
        yield Server(psutil.Process(process.pid), port)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


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


def java(jars: str, main: str, *arguments: str, megabytes: int = 1024) -> list[str]:
    """A command of one of the programs in a folder of jars."""
    return ["java", f"-Xmx{megabytes}m", *JAVA_OPENS, "-cp", f"{jars}/*", main, *arguments]


def java_job_server(jars: str, main: str, flags: Sequence[str], log: Path) -> contextlib.AbstractContextManager[Server]:
    """A job server of Beam's for Flink or Spark."""
    port = free_port()
    ports = [f"--job-port={port}", f"--artifact-port={free_port()}", f"--expansion-port={free_port()}"]
    return serving(java(jars, main, *ports, *flags), port, log)


def prism(program: Path, log: Path) -> contextlib.AbstractContextManager[Server]:
    """Beam's own runner."""
    port = free_port()
    return serving([str(program), f"-job_port={port}", "-serve_http=false"], port, log)


FLINK = "org.apache.flink.runtime"
FLINK_SETTINGS = """
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc_port}
rest.address: localhost
rest.port: {rest_port}
taskmanager.host: localhost
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1.0
taskmanager.memory.task.heap.size: 384m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
"""
"""Flink's start scripts compute the sizes of memory, the programs themselves ask for all of them."""

POOL_HOST = "own-pool"
"""What every task manager calls the machine of its worker pool."""


class FlinkCluster(NamedTuple):
    """A Flink cluster that runs.

    Attributes:
        master: address of its job manager.
        pool: address of a worker pool, as each task manager knows it.
        pools: the worker pools, one a task manager.
    """

    master: str
    pool: str
    pools: tuple[Server, ...]


@contextlib.contextmanager
def flink_session_cluster(jars: str, folder: Path, log: Path, task_managers: int = 2) -> Iterator[FlinkCluster]:
    """A standalone Flink cluster of a job manager and task managers with a slot each.

    Each task manager has a worker pool of its own, as on machines of their own: all name their workers alike, and of
    two workers of one name a pool stops the wrong one. An address of this machine stands for each machine, a file of
    host names says which one is a task manager's own.
    """
    rest_port, pool_port = free_port(), free_port()
    folder.mkdir(exist_ok=True)
    (folder / "flink-conf.yaml").write_text(FLINK_SETTINGS.format(rpc_port=free_port(), rest_port=rest_port))
    configured = f"--configDir={folder}"
    manager = java(jars, f"{FLINK}.entrypoint.StandaloneSessionClusterEntrypoint", configured)
    worker = java(jars, f"{FLINK}.taskexecutor.TaskManagerRunner", configured)
    pools = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(manager, rest_port, log))
        for number in range(task_managers):
            host = f"127.0.0.{2 + number}"
            pool = [sys.executable, "-m", "tests.engines.pool_on_host", f"{host}:{pool_port}"]
            pools.append(stack.enter_context(serving(pool, pool_port, log, host=host)))
            hosts = folder / f"hosts-{number}"
            hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{host} {POOL_HOST}\n")
            stack.enter_context(running([worker[0], f"-Djdk.net.hosts.file={hosts}", *worker[1:]], log))
        until = time.monotonic() + 90
        while _task_managers(rest_port) < task_managers:
            assert time.monotonic() < until, f"the task managers do not come: {log.read_text()[-2000:]}"
            time.sleep(0.5)
        yield FlinkCluster(f"localhost:{rest_port}", f"{POOL_HOST}:{pool_port}", tuple(pools))


def _task_managers(rest_port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://localhost:{rest_port}/taskmanagers", timeout=10) as answer:
            return len(json.load(answer)["taskmanagers"])
    except urllib.error.HTTPError:  # as long as the job manager has no leader
        return 0
