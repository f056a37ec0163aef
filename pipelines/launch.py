"""The launcher: everything of a job that is not its heart, on the machine where the command was typed."""

import contextlib
import datetime
import shlex
import sys
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from model.storage import Storage
from pipelines import commit
from pipelines.commit import Receipt, Run
from pipelines.corpus import Corpus
from pipelines.lease import Lease
from pipelines.ledger import Ledger
from pipelines.options import JobFlags
from pipelines.pending import CommitShards, Job, PendingShards, write_corpus
from pipelines.progress import Progress
from pipelines.rows import FAILURES
from pipelines.running import interruptible, run_pipeline, stop_workers
from pipelines.shards import shard_count, shard_name
from pipelines.summary import done_in, failure_lines, tally
from pipelines.watchdog import forget_started
from schemas.command import CHECK_FAILED, DONE, INTERRUPTED, STOPPED, RefusedError
from schemas.fingerprint import Fingerprint
from schemas.manifest import FILE, FOLDER, Manifest, ManifestError
from schemas.table import NewerSchemaError

MANIFEST = f"{FOLDER}/{FILE}"


class TooManyFailuresError(Exception):
    """More failure rows are committed than `--max-failures` allows."""


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
        strict: whether a warning of the job ends it with exit code 3.
    """

    job: Job
    corpus: Corpus
    output: Storage
    fingerprint: Fingerprint
    details: dict[str, Any]
    flags: JobFlags
    options: PipelineOptions
    strict: bool = False


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


def manifest_of(output: Storage) -> Manifest:
    """The manifest of an output that must have one.

    Raises:
        RefusedError: if it has none, or it is damaged or newer than this Beamscribe.
    """
    found = read_manifest_of(output)
    if found is None:
        raise RefusedError(f"{output.uri()} is not an output of Beamscribe: it has no {MANIFEST}")
    return found


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
        with Lease(request.output), interruptible():
            try:
                return _run_under_lease(request, started)
            except TooManyFailuresError:
                _stop_in_peace(request)
                return CHECK_FAILED
            except KeyboardInterrupt:
                _stop_in_peace(request)
                print(f"\ninterrupted; what is committed stays. Continue with:\n  {_command_line()}", file=sys.stderr)
                return INTERRUPTED
    except OSError as error:
        print(f"beamscribe {request.job.name}: stopped: {error}. Run the same command again.", file=sys.stderr)
        return STOPPED


def _stop_in_peace(request: Request) -> None:
    """Ends a pipeline that is still running: the process is about to end too."""
    # A commit that has begun may finish, a later one never begins.
    commit.hold_commits(timeout_seconds=5.0)
    stop_workers(request.options, timeout_seconds=4.0)
    forget_started(request.output)


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
    before = len(tally({reference.id for reference in request.corpus.references}, ledger, current).failures)

    def look() -> None:
        # Storage that does not answer now is no reason to give up what is being committed.
        with contextlib.suppress(OSError):
            progress.tell()
        if _too_many(request, progress.failures if request.flags.retry_failed else before + progress.failures):
            raise TooManyFailuresError

    failed = run_pipeline(parts, pending, CommitShards(request.job, run), request.options, look)

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


def _command_line() -> str:
    """The command as it was typed, but for what may be a credential."""
    arguments = list(sys.argv[1:])
    for place, argument in enumerate(arguments):
        if argument.startswith("--storage-options="):
            arguments[place] = "--storage-options=…"
        elif place and arguments[place - 1] == "--storage-options":
            arguments[place] = "…"
    return shlex.join(["beamscribe", *arguments])


def _summarize(
    request: Request, ledger: Ledger, receipts: list[Receipt], started: datetime.datetime, failed: Exception | None
) -> int:
    asked = {reference.id for reference in request.corpus.references}
    found = tally(asked, ledger, receipts)
    done = done_in(started.isoformat(), receipts)
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    name = f"beamscribe {request.job.name}"
    print(f"{name}: this run did {done} of {len(asked)} in {seconds:.1f} s; the rest was done before")
    if request.corpus.repeated or request.corpus.skipped:
        print(
            f"{name}: {request.corpus.repeated} repeated references counted once, "
            f"{request.corpus.skipped} files without an image suffix skipped"
        )
    for line in failure_lines(found.failures):
        print(f"{name}: failed: {line}")
    if failed is not None:
        print(f"{name}: {failed}", file=sys.stderr)
    code, advice = DONE, ""
    if failed is not None or found.todo:
        count = shard_count(len(asked), request.flags.shard_size)
        left = {shard_name(item, count) for item in request.corpus.references if item.id in found.todo}
        code, advice = STOPPED, f"; {len(left)} shards not committed, run the same command again"
    else:
        # Nothing is in hand; markers of shards that are cut otherwise by now would stay for ever.
        forget_started(request.output)
    if code == DONE and _too_many(request, len(found.failures)):
        code = CHECK_FAILED
    if code == DONE and done:
        for warning in request.job.warnings(request.output, receipts):
            print(f"{name}: warning: {warning}", file=sys.stderr)
            code = CHECK_FAILED if request.strict else code
    print(
        f"{name}: {len(asked)} in the corpus: {found.rows} done, {len(found.failures)} failed, {len(found.todo)} to do "
        f"→ {request.output.uri()}{advice}"
    )
    return code


def _too_many(request: Request, failures: int) -> bool:
    """Whether there are more failures than `--max-failures` allows; says so."""
    bound, corpus = request.flags.max_failures, len(request.corpus.references)
    if bound is None or not bound.exceeded(failures, corpus):
        return False
    print(
        f"beamscribe {request.job.name}: {failures} failures of {corpus} are more than --max-failures {bound} allows; "
        f"{request.output.uri(FAILURES.folder)} says what they are, and --retry-failed tries them again",
        file=sys.stderr,
    )
    return True
