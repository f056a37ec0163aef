"""Runs a pipeline while this process listens: to Ctrl-C, to SIGTERM, and to what the pipeline commits."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult

from beamscribe.errors import RefusedError
from beamscribe.pipelines.commits.lease import LeaseLostError
from beamscribe.pipelines.commits.pending import CommitShards, ReadPending
from beamscribe.pipelines.runtime.runners import DATAFLOW, is_elsewhere, processes_a_machine, template_of
from beamscribe.pipelines.runtime.staged import FinishStaged
from beamscribe.pipelines.runtime.workers import worker_processes
from beamscribe.pipelines.work import cores
from beamscribe.schemas.receipt import Receipt
from beamscribe.storage.critical_section import RunStoppedError
from beamscribe.storage.storage import Storage
from beamscribe.storage.transient import within

LOOK_SECONDS = 1.0
"""Between two looks at whether all worker processes are alive."""

CANCEL_SECONDS = 20.0


NOT_SEEN = "workers on Dataflow do not see {}: copy it to a bucket, or write to one (gs://…)"


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
    run that was stopped goes on until Beam lets it end; what it still commits is refused, see
    `storage.critical_section`.
    A job that is only staged, see `template_of`, is not waited for.

    A worker process that is lost, to a decoder that crashes or to the system for want of memory, ends the run. Its
    shard stays marked, so the same command knows of it.

    Args:
        parts: of what is to do.
        pending: reads them.
        commits: does it.
        options: Beam's.
        meanwhile: called once a second; what it raises is raised here, and the pipeline left alone.
    """
    staged = template_of(options) is not None
    stopped_by: list[Exception] = []
    running: list[PipelineResult] = []
    for name in ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker"):
        logging.getLogger(name).addFilter(_says_more_than_the_last_line)

    def run() -> None:
        try:
            pipeline = beam.Pipeline(options=options)
            committed = build(pipeline, parts, pending, commits)
            if staged:
                # The last step of the graph, since the launcher is gone by then.
                _ = committed | "Finish" >> FinishStaged(pending.output, tuple(parts))
            running.append(pipeline.run())
            if not staged:
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


def refuse_local(options: PipelineOptions, output: Storage, uris: Iterable[str]) -> None:
    """Refuses files of this machine where workers surely are on others.

    Raises:
        RefusedError: naming the first.
    """
    if options.view_as(StandardOptions).runner != DATAFLOW:
        return
    here = output.uri() if output.local else next((uri for uri in uris if uri.startswith("file://")), None)
    if here:
        raise RefusedError(NOT_SEEN.format(here))


def _says_more_than_the_last_line(record: logging.LogRecord) -> bool:
    """Whether Beam's log of an error is worth reading: what stops a run is told in one line at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError | RunStoppedError | LeaseLostError))


def build(
    pipeline: beam.Pipeline, parts: list[str], pending: ReadPending, commits: CommitShards
) -> beam.PCollection[Receipt]:
    """Parts of what is to do → shards → commits."""
    return pipeline | "Parts" >> beam.Create(parts) | "Pending" >> pending | "CommitShards" >> commits


def share_cores(options: PipelineOptions) -> None:
    """As `beamscribe.pipelines.work.cores.share_cores`, for the processes that a runner starts on this machine."""
    if not is_elsewhere(options):
        cores.share_cores(processes_a_machine(options))


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
