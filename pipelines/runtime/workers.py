"""Beam's local worker processes: which are this run's, which of them is lost, and their end with the run."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

RUN = "BEAMSCRIBE_RUN"
"""In the environment of a worker process: the run that it works for."""

BEAM_WORKER = "CONTROL_API_SERVICE_DESCRIPTOR"
"""In the environment of every worker process that Beam starts, and of no other."""

BEAM_THREADS = ("run_worker", "beam_control_read", "read_grpc_client_inputs")
"""Names of `apache_beam.runners.portability.fn_api_runner.worker_handlers` and `apache_beam.runners.worker.data_plane`:
they wait for a worker process."""

END_SECONDS = 4.0
CRASHES = frozenset(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE") if hasattr(signal, name)
)
"""Signals that a process gets for what it did, not for what somebody else wants of it."""


class WorkerExitedError(Exception):
    """A worker process ended in the middle of its work.

    Attributes:
        crashed: whether it did so by itself.
    """

    def __init__(self, message: str, crashed: bool) -> None:
        super().__init__(message)
        self.crashed = crashed


@dataclass
class Workers:
    """The worker processes of one run.

    Attributes:
        lost: why each that was lost ended; it grows while the pipeline runs.
    """

    lost: list[WorkerExitedError] = field(default_factory=list)


@contextlib.contextmanager
def worker_processes(options: PipelineOptions, run: str) -> Iterator[Workers]:
    """Watches over the local worker processes of a pipeline that is started in the body, and ends those that are left.

    Other threads and children of this process, which may be somebody's notebook, are none of its business.

    Args:
        options: Beam's, which say whether there are such processes.
        run: the run's token.
    """
    workers = Workers()
    if options.view_as(DirectOptions).direct_running_mode != "multi_processing":
        yield workers
        return
    before = frozenset(threading.enumerate())
    with _excepthook(workers, before), _environment(run):
        try:
            yield workers
        finally:
            with _quiet_beam():
                _end(run)
                _join(before)


@contextlib.contextmanager
def _excepthook(workers: Workers, before: frozenset[threading.Thread]) -> Iterator[None]:
    """Hears what Beam's threads raise that wait for a worker process; everything else goes where it went."""
    others = threading.excepthook
    active = True

    def hook(args: threading.ExceptHookArgs) -> None:
        thread = args.thread
        if not active or thread is None or thread in before or thread.name not in BEAM_THREADS:
            others(args)
        elif thread.name == BEAM_THREADS[0] and args.exc_value is not None:
            workers.lost.append(WorkerExitedError(str(args.exc_value), _is_crash(str(args.exc_value))))

    threading.excepthook = hook
    try:
        yield
    finally:
        active = False
        # Somebody else's hook may stand before this one by now, and passes on what it does not want.
        if threading.excepthook is hook:
            threading.excepthook = others


def _is_crash(message: str) -> bool:
    """Whether Beam's message tells of a signal that means a crash; a shell adds 128 to it, Python a minus."""
    code = message.rsplit(" ", 1)[-1]
    if not code.lstrip("-").isdigit():
        return False
    return (-int(code) if int(code) < 0 else int(code) - 128) in CRASHES


@contextlib.contextmanager
def _environment(run: str) -> Iterator[None]:
    """What worker processes inherit: their run, and no proxy between them and this process: gRPC asks for localhost."""
    name = "no_grpc_proxy"  # gRPC knows it in small letters only
    others = os.environ.get(name) or os.environ.get(name.replace("grpc_", ""), "")
    changed = {RUN: run, name: ",".join(filter(None, ("localhost", "127.0.0.1", others)))}
    before = {key: os.environ.get(key) for key in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def processes_of(run: str) -> list[psutil.Process]:
    """The worker processes of a run, with what they started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if environment.get(RUN) == run and BEAM_WORKER in environment:
                found.append(process)
    return found


def _end(run: str) -> None:
    """Ends worker processes that are left: they would go on for a while without their launcher."""
    workers = processes_of(run)
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.terminate()
    for worker in psutil.wait_procs(workers, END_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()


def _join(before: frozenset[threading.Thread]) -> None:
    """Waits for Beam's threads, which find that their worker is gone, as long as their reports are not wanted."""
    until = time.monotonic() + END_SECONDS
    for thread in threading.enumerate():
        if thread not in before and thread.name in BEAM_THREADS:
            thread.join(max(0.0, until - time.monotonic()))


@contextlib.contextmanager
def _quiet_beam() -> Iterator[None]:
    """Keeps Beam from reporting each worker as lost."""
    logger = logging.getLogger("apache_beam")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
