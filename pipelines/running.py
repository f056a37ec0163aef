"""Runs a pipeline while this process listens: to Ctrl-C, to SIGTERM, and to what the pipeline commits."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from pipelines.pending import CommitShards, PendingShards

INTERVAL_SECONDS = 10.0


def run_pipeline(
    parts: list[str],
    pending: PendingShards,
    commits: CommitShards,
    options: PipelineOptions,
    meanwhile: Callable[[], None],
) -> Exception | None:
    """Builds and runs the pipeline; returns what stopped it, if anything did.

    It runs in a thread of its own, so that this one hears Ctrl-C at once and can tell of the progress.

    Args:
        parts: of the corpus.
        pending: subtracts what is done.
        commits: does the rest.
        options: Beam's.
        meanwhile: called every ten seconds; what it raises is raised here, and the pipeline left alone.
    """
    _cap_threads(options)
    stopped_by: list[Exception] = []
    logging.getLogger("apache_beam.runners.common").addFilter(_says_more_than_the_last_line)

    def run() -> None:
        try:
            pipeline = beam.Pipeline(options=options)
            build(pipeline, parts, pending, commits)
            pipeline.run().wait_until_finish()
        except Exception as error:  # noqa: BLE001 - whatever ends the job is told, and ends it with exit code 1.
            stopped_by.append(error)

    thread = threading.Thread(target=run, name="pipeline", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=INTERVAL_SECONDS)
        if thread.is_alive():
            meanwhile()
    return stopped_by[0] if stopped_by else None


def _says_more_than_the_last_line(record: logging.LogRecord) -> bool:
    """Whether Beam's log of an error is worth reading: a storage that fails is told in one line at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError))


def build(pipeline: beam.Pipeline, parts: list[str], pending: PendingShards, commits: CommitShards) -> None:
    """Parts of the corpus → pending shards → commits."""
    # Each worker reads parts of its own; Create's reshuffle would only add a shuffle of their names.
    pipeline | "Corpus" >> beam.Create(parts) | "PendingShards" >> pending | "CommitShards" >> commits  # noqa: B018


def _cap_threads(options: PipelineOptions) -> None:
    """Shares the cores among local worker processes, which inherit the environment; before TensorFlow is imported."""
    direct = options.view_as(DirectOptions)
    workers = direct.direct_num_workers or os.cpu_count() or 1
    if direct.direct_running_mode != "multi_processing" or workers == 1:
        return
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, threads)


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
