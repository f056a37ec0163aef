"""The launcher: everything of a job that is not its heart, on the machine where the command was typed."""

import contextlib
import datetime
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from model.storage import Storage
from pipelines import commit
from pipelines.commit import Receipt, Run
from pipelines.corpus import Corpus
from pipelines.lease import Lease
from pipelines.ledger import Ledger, count_failures
from pipelines.options import JobFlags
from pipelines.pending import CommitShards, Job, PendingShards, write_corpus
from pipelines.progress import Progress
from pipelines.shards import shard_count
from schemas.command import DONE, INTERRUPTED, STOPPED, RefusedError
from schemas.fingerprint import Fingerprint
from schemas.manifest import FILE, FOLDER, Manifest, ManifestError
from schemas.table import NewerSchemaError

MANIFEST = f"{FOLDER}/{FILE}"


@dataclass(frozen=True)
class Request:
    """What one command asks for.

    Attributes:
        job: the heart.
        corpus: what to do it with.
        output: where to.
        fingerprint: what can change a row.
        details: kept in the manifest for later commands.
        flags: shared by all jobs.
        options: Beam's.
    """

    job: Job
    corpus: Corpus
    output: Storage
    fingerprint: Fingerprint
    details: dict[str, Any]
    flags: JobFlags
    options: PipelineOptions


def read_manifest_of(output: Storage) -> Manifest | None:
    """The manifest of an output; None if there is none yet.

    Raises:
        RefusedError: if it is damaged or newer than this Beamscribe.
    """
    try:
        return Manifest.from_json(output.read(MANIFEST), output.uri(MANIFEST))
    except FileNotFoundError:
        return None
    except (ManifestError, NewerSchemaError, OSError) as error:
        raise RefusedError(str(error)) from error


def is_resumed(output: Storage, fingerprint: Fingerprint) -> bool:
    """Whether an earlier run was launched with the same settings, so that they need not be tried out again."""
    manifest = read_manifest_of(output)
    return manifest is not None and manifest.fingerprint == fingerprint


def launch(request: Request) -> int:
    """Runs a job to its end and prints what came of it.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the output holds something else, or another run writes it.
    """
    started = datetime.datetime.now(datetime.UTC)
    # Looked at before the lease, which would otherwise be the first thing to be written into a foreign folder.
    _kept_fingerprints(request, read_manifest_of(request.output))
    try:
        with Lease(request.output), _interruptible():
            try:
                return _run_under_lease(request, started)
            except KeyboardInterrupt:
                # A commit that has begun may finish, a later one never begins: the process is about to end.
                commit.hold_commits(timeout_seconds=5.0)
                if request.options.view_as(DirectOptions).direct_running_mode == "multi_processing":
                    _stop_workers(timeout_seconds=4.0)
                print(f"\ninterrupted; what is committed stays. Continue with:\n  {_command_line()}", file=sys.stderr)
                return INTERRUPTED
    except OSError as error:
        print(f"beamscribe {request.job.name}: stopped: {error}. Run the same command again.", file=sys.stderr)
        return STOPPED


def _run_under_lease(request: Request, started: datetime.datetime) -> int:
    # Another run may have ended just before the lease was ours.
    earlier = read_manifest_of(request.output)
    kept = _kept_fingerprints(request, earlier)
    ledger = Ledger(request.output, request.job.format)
    for name in request.output.temporaries():
        request.output.delete(name)
    try:
        receipts = ledger.settle((earlier.fingerprint if earlier else request.fingerprint).digest)
        current = ledger.sweep([receipt for receipt in receipts if receipt.fingerprint in kept])
    except NewerSchemaError as error:
        raise RefusedError(str(error)) from error
    except ValueError as error:
        raise RefusedError(f"{error}: delete that file, and its images are done again") from error
    shards = shard_count(len(request.corpus.references), request.flags.shard_size)
    parts = write_corpus(request.output, request.corpus.references)
    manifest = Manifest(
        job=request.job.name,
        fingerprint=request.fingerprint,
        kept_fingerprints=kept,
        details=request.details,
        references=len(request.corpus.references),
        repeated=request.corpus.repeated,
        skipped=request.corpus.skipped,
        shards=shards,
        run_started=started.isoformat(),
    )
    request.output.write(MANIFEST, manifest.to_json().encode())

    run = Run(request.output, request.job.format, request.fingerprint.digest, started, request.flags.stall_timeout)
    pending = PendingShards(ledger, [receipt.name for receipt in current], shards, request.flags.retry_failed)
    progress = Progress(request.output, request.job.name, started)
    failed = _run_pipeline(parts, pending, CommitShards(request.job, run), request.options, progress)

    receipts = ledger.settle(request.fingerprint.digest)
    current = ledger.sweep([receipt for receipt in receipts if receipt.fingerprint in kept])
    replaced = [receipt for receipt in receipts if receipt.fingerprint not in kept]
    code = _summarize(request, ledger, current, started, failed)
    if code == DONE and replaced:
        # Only now, when everything that replaces them is committed.
        ledger.remove(replaced)
        request.job.tidy(request.output)
    return code


def _kept_fingerprints(request: Request, earlier: Manifest | None) -> list[str]:
    """Digests under which rows count as done.

    Raises:
        RefusedError: if the output was made by another job, or with other settings and no `--on-change` says what then.
    """
    new = request.fingerprint.digest
    if earlier is None:
        foreign = request.output.files(request.job.format.folder)
        if foreign:
            raise RefusedError(
                f"{request.output.uri()} holds {foreign[0].name} but no {MANIFEST}, so Beamscribe did not write it: "
                "choose another --output"
            )
        return [new]
    if earlier.job != request.job.name:
        raise RefusedError(f"{request.output.uri()} holds the output of {earlier.job}: choose another --output")
    if earlier.fingerprint == request.fingerprint:
        return earlier.kept_fingerprints
    if request.flags.on_change == "keep":
        return [*(digest for digest in earlier.kept_fingerprints if digest != new), new]
    if request.flags.on_change == "replace":
        return [new]
    changes = "\n  ".join(earlier.fingerprint.differences(request.fingerprint))
    raise RefusedError(
        f"{request.output.uri()} was made with other settings:\n  {changes}\n"
        "Choose another --output, or --on-change keep (old rows stay, new images are done with the new settings) "
        "or --on-change replace (old rows are done again)"
    )


def _run_pipeline(
    parts: list[str], pending: PendingShards, commits: CommitShards, options: PipelineOptions, progress: Progress
) -> Exception | None:
    """Builds and runs the pipeline; returns what stopped it, if anything did.

    It runs in a thread of its own, so that this one hears Ctrl-C at once and can tell of the progress.
    """
    _cap_threads(options)
    stopped_by: list[Exception] = []

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
        thread.join(timeout=progress.interval_seconds)
        if thread.is_alive():
            progress.tell()
    return stopped_by[0] if stopped_by else None


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
def _interruptible() -> Iterator[None]:
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


def _stop_workers(timeout_seconds: float) -> None:
    """Ends Beam's local worker processes, which would go on for a while without their launcher.

    Beam's threads report each of them as lost, with a traceback; this process is about to end, so nobody needs that.
    """
    logging.disable()
    threading.excepthook = lambda _: None
    workers = psutil.Process().children(recursive=True)
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.terminate()
    for worker in psutil.wait_procs(workers, timeout_seconds)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()


def _command_line() -> str:
    return " ".join(["beamscribe", *sys.argv[1:]])


def _summarize(
    request: Request, ledger: Ledger, receipts: list[Receipt], started: datetime.datetime, failed: Exception | None
) -> int:
    asked = {reference.id for reference in request.corpus.references}
    rows = {id for receipt in receipts if receipt.rows for id in receipt.rows.ids} & asked
    failures = [row for receipt in receipts for row in ledger.failures(receipt) if row.id in asked]
    todo = len(asked) - len(rows) - len(failures)
    now = [receipt for receipt in receipts if receipt.run_started == started.isoformat()]
    new_rows = sum(len(receipt.rows.ids) for receipt in now if receipt.rows)
    new_failures = sum(len(receipt.failures.ids) for receipt in now if receipt.failures)
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    name = f"beamscribe {request.job.name}"
    print(
        f"{name}: this run did {new_rows + new_failures} of {len(asked)} in {seconds:.1f} s; the rest was done before"
    )
    if request.corpus.repeated or request.corpus.skipped:
        print(
            f"{name}: {request.corpus.repeated} repeated references counted once, "
            f"{request.corpus.skipped} files without an image suffix skipped"
        )
    for (stage, error_type), count in sorted(count_failures(failures).items()):
        print(f"{name}: failed: {count} × {stage}: {error_type}")
    if failed is not None:
        print(f"{name}: {failed}", file=sys.stderr)
    print(
        f"{name}: {len(asked)} in the corpus: {len(rows)} done, {len(failures)} failed, {todo} to do "
        f"→ {request.output.uri()}{'' if todo == 0 else '; run the same command again'}"
    )
    return DONE if failed is None and todo == 0 else STOPPED
