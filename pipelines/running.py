"""Runs a pipeline while this process listens: to Ctrl-C, to SIGTERM, and to what the pipeline commits."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult

from model.storage import Storage
from model.transient import within
from pipelines.commits.pending import CommitShards, ReadPending
from pipelines.images.batches import SIDE_BY_SIDE
from schemas.command import RefusedError

INTERVAL_SECONDS = 10.0
LOOK_SECONDS = 1.0
"""Between two looks at whether all worker processes are alive."""

CANCEL_SECONDS = 20.0
DATAFLOW = "DataflowRunner"
LOCAL_RUNNERS = ("FnApiRunner",)
"""As `pipelines.options` leaves them; every other runner may have its workers anywhere."""


class WorkerLostError(Exception):
    """A local worker process ended in the middle of its work; Beam's runner would wait for it for ever."""


def run_pipeline(
    parts: list[str],
    pending: ReadPending,
    commits: CommitShards,
    options: PipelineOptions,
    meanwhile: Callable[[], None],
    interval_seconds: float | None = None,
) -> Exception | None:
    """Builds and runs the pipeline; returns what stopped it, if anything did.

    It runs in a thread of its own, so that this one hears Ctrl-C at once and can tell of the progress.

    A worker process that is lost, to a decoder that crashes or to the system for want of memory, ends the run. Its
    shard stays marked, so the same command reads its images apart.

    Args:
        parts: of what is to do.
        pending: reads them.
        commits: does it.
        options: Beam's.
        meanwhile: called now and then; what it raises is raised here, and the pipeline left alone.
        interval_seconds: how often; every ten seconds by default.
    """
    _reach_workers_directly(options)
    lost = _lost_workers()
    stopped_by: list[Exception] = []
    running: list[PipelineResult] = []
    logging.getLogger("apache_beam.runners.common").addFilter(_says_more_than_the_last_line)

    def run() -> None:
        try:
            pipeline = beam.Pipeline(options=options)
            build(pipeline, parts, pending, commits)
            running.append(pipeline.run())
            running[0].wait_until_finish()
        except Exception as error:  # noqa: BLE001 - whatever ends the job is told, and ends it with exit code 1.
            stopped_by.append(error)

    thread = threading.Thread(target=run, name="pipeline", daemon=True)
    thread.start()
    told = time.monotonic()
    try:
        while thread.is_alive() and not lost:
            thread.join(timeout=LOOK_SECONDS)
            if thread.is_alive() and time.monotonic() - told >= (interval_seconds or INTERVAL_SECONDS):
                meanwhile()
                told = time.monotonic()
    except BaseException:
        if running and is_elsewhere(options):
            _cancel(running[0])
        raise
    if lost:
        stop_workers(options, timeout_seconds=4.0)
        return WorkerLostError(f"a worker process was lost: {lost[0]}")
    return stopped_by[0] if stopped_by else None


def _lost_workers() -> list[BaseException]:
    """What Beam's threads that wait for a worker process have raised; it grows while the pipeline runs."""
    lost: list[BaseException] = []
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        # The name is that of apache_beam.runners.portability.fn_api_runner.worker_handlers.
        if args.thread is not None and args.thread.name == "run_worker" and args.exc_value is not None:
            lost.append(args.exc_value)
        else:
            before(args)

    threading.excepthook = hook
    return lost


def _cancel(result: PipelineResult) -> None:
    """Ends a job on other machines, which would go on without its launcher and write beside the next one."""
    with contextlib.suppress(Exception):
        within(CANCEL_SECONDS, result.cancel)


def is_elsewhere(options: PipelineOptions) -> bool:
    """Whether workers may be on other machines, which do not see this one's files."""
    return options.view_as(StandardOptions).runner not in LOCAL_RUNNERS


def refuse_local(options: PipelineOptions, output: Storage, uris: Iterable[str]) -> None:
    """Refuses files of this machine where workers surely are on others.

    Raises:
        RefusedError: naming the first.
    """
    if options.view_as(StandardOptions).runner != DATAFLOW:
        return
    here = output.uri() if output.local else next((uri for uri in uris if uri.startswith("file://")), None)
    if here:
        raise RefusedError(f"workers on Dataflow do not see {here}: copy it to a bucket, or write to one (gs://…)")


def _says_more_than_the_last_line(record: logging.LogRecord) -> bool:
    """Whether Beam's log of an error is worth reading: a storage that fails is told in one line at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError))


def build(pipeline: beam.Pipeline, parts: list[str], pending: ReadPending, commits: CommitShards) -> None:
    """Parts of what is to do → shards → commits."""
    pipeline | "Parts" >> beam.Create(parts) | "Pending" >> pending | "CommitShards" >> commits  # noqa: B018


def share_cores(options: PipelineOptions) -> None:
    """Shares the cores among local worker processes, and TensorFlow's among the batches that are in a model at once.

    A batch that has a core for itself waits for no other: on two cores two batches side by side are captioned a tenth
    faster with int8 than when each is spread over both. To be called before TensorFlow is imported.
    """
    direct, cores = options.view_as(DirectOptions), os.cpu_count() or 1
    if direct.direct_running_mode == "multi_processing":
        cores = max(1, cores // (direct.direct_num_workers or cores))
        # The processes inherit the environment.
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(name, str(cores))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // SIDE_BY_SIDE)))


def _reach_workers_directly(options: PipelineOptions) -> None:
    """Keeps proxies out of what this process and its local workers say to each other: gRPC asks them for localhost."""
    if options.view_as(DirectOptions).direct_running_mode == "multi_processing":
        name = "no_grpc_proxy"  # gRPC knows it in small letters only
        others = os.environ.get(name) or os.environ.get(name.replace("grpc_", ""), "")
        os.environ[name] = ",".join(filter(None, ("localhost", "127.0.0.1", others)))


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Treats SIGTERM as Ctrl-C; only the main thread may say what signals do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_workers(options: PipelineOptions, timeout_seconds: float) -> None:
    """Ends Beam's local worker processes, if there are any: they would go on for a while without their launcher.

    Beam's threads report each of them as lost, with a traceback; this process is about to end, so nobody needs that.
    """
    if options.view_as(DirectOptions).direct_running_mode != "multi_processing":
        return
    logging.disable()
    threading.excepthook = lambda _: None
    workers = psutil.Process().children(recursive=True)
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.terminate()
    for worker in psutil.wait_procs(workers, timeout_seconds)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
