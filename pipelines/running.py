"""Runs a pipeline while this process listens: to Ctrl-C, to SIGTERM, and to what the pipeline commits."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult

from model.storage import Storage
from model.transient import within
from model.unbroken import RunStoppedError
from pipelines.commits.lease import LeaseLostError
from pipelines.commits.pending import CommitShards, ReadPending
from pipelines.images.batches import SIDE_BY_SIDE
from pipelines.workers import worker_processes
from schemas.command import RefusedError

LOOK_SECONDS = 1.0
"""Between two looks at whether all worker processes are alive."""

CANCEL_SECONDS = 20.0
DATAFLOW = "DataflowRunner"
LOCAL_RUNNERS = ("FnApiRunner",)
"""As `pipelines.options` leaves them; every other runner may have its workers anywhere."""


class WorkerLostError(Exception):
    """A local worker process ended in the middle of its work; Beam's runner would wait for it for ever.

    Attributes:
        crashed: whether the process did so by itself, as a decoder does that an image crashes.
    """

    def __init__(self, message: str, crashed: bool) -> None:
        super().__init__(message)
        self.crashed = crashed


def run_pipeline(
    parts: list[str],
    pending: ReadPending,
    commits: CommitShards,
    options: PipelineOptions,
    meanwhile: Callable[[], None],
) -> Exception | None:
    """Builds and runs the pipeline; returns what stopped it, if anything did.

    It runs in a thread of its own, so that this one hears Ctrl-C at once and can tell of the progress. The thread of a
    run that was stopped goes on until Beam lets it end; what it still commits is refused, see `model.unbroken`.

    A worker process that is lost, to a decoder that crashes or to the system for want of memory, ends the run. Its
    shard stays marked, so the same command knows of it.

    Args:
        parts: of what is to do.
        pending: reads them.
        commits: does it.
        options: Beam's.
        meanwhile: called once a second; what it raises is raised here, and the pipeline left alone.
    """
    stopped_by: list[Exception] = []
    running: list[PipelineResult] = []
    for name in ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker"):
        logging.getLogger(name).addFilter(_says_more_than_the_last_line)

    def run() -> None:
        try:
            pipeline = beam.Pipeline(options=options)
            build(pipeline, parts, pending, commits)
            running.append(pipeline.run())
            running[0].wait_until_finish()
        except Exception as error:  # noqa: BLE001 - whatever ends the job is told, and ends it with exit code 1.
            stopped_by.append(error)

    thread = threading.Thread(target=run, name="pipeline", daemon=True)
    with worker_processes(options, pending.output.run) as workers:
        thread.start()
        try:
            while thread.is_alive() and not workers.lost:
                thread.join(timeout=LOOK_SECONDS)
                if thread.is_alive():
                    meanwhile()
        except BaseException:
            if running and is_elsewhere(options):
                _cancel(running[0])
            raise
        if workers.lost:
            crashed = any(lost.crashed for lost in workers.lost)
            return WorkerLostError(f"a worker process was lost: {workers.lost[0]}", crashed)
        return stopped_by[0] if stopped_by else None


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
    """Whether Beam's log of an error is worth reading: what stops a run is told in one line at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError | RunStoppedError | LeaseLostError))


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
