"""The launcher: what every job needs on the machine where the command was typed."""

import contextlib
import datetime
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, STOPPED, RefusedError
from beamscribe.pipelines.commits.crashes import crashed_before, crashes_noted
from beamscribe.pipelines.commits.lease import Lease, LeaseLostError
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.liveness import (
    LOST_SECONDS,
    LivenessMonitor,
    forget_started,
    stalls_here,
    suspect_started,
)
from beamscribe.pipelines.commits.manifest_file import kept_fingerprints
from beamscribe.pipelines.commits.pending import CommitShards, ReadPending, write_pending
from beamscribe.pipelines.commits.staged_lease import staged_token
from beamscribe.pipelines.commits.stale import asked_captions, remove_stale, stale_rows, without_stale
from beamscribe.pipelines.runtime.assignment import assign, store_asked
from beamscribe.pipelines.runtime.outcome import exceeds_failures, tell_outcome
from beamscribe.pipelines.runtime.paid_plan import is_paid, plan_paid
from beamscribe.pipelines.runtime.plan import plan
from beamscribe.pipelines.runtime.progress import Progress
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.runners import is_elsewhere, processes_a_machine, template_of
from beamscribe.pipelines.runtime.running import WorkerLostError, interruptible, refuse_local, run_pipeline
from beamscribe.pipelines.runtime.unlisted import Unlisted, archives, refuse_empty
from beamscribe.pipelines.sources.corpus import sampled
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas.counted import counted
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import OWN_FOLDERS
from beamscribe.schemas.table import NewerSchemaError
from beamscribe.storage.critical_section import RunStoppedError, stop
from beamscribe.storage.output_reader import read_manifest_of
from beamscribe.storage.storage import Storage

STOP_SECONDS = 5.0
"""For commits that have begun, when a run is stopped."""


class TooManyFailuresError(Exception):
    """More failure rows are committed than `--max-failures` allows."""


class WorkersLostError(Exception):
    """No worker has given a sign for so long that there can be none."""


class StalledError(Exception):
    """A shard makes no progress in this process."""


def launch(request: Request) -> int:
    """Runs a job to its end and prints what came of it.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the output holds something else, or another run writes it.
    """
    started = datetime.datetime.now(datetime.UTC)
    request = replace(request, corpus=sampled(request.corpus, request.flags.sample))
    uris = chain((one.uri for one in request.corpus.references), (one.uri for one in request.corpus.containers))
    refuse_local(request.options, request.output, uris)
    # Looked at before the lease, which would otherwise be the first thing to be written into a foreign folder.
    kept = _kept(request, read_manifest_of(request.output))
    if request.flags.plan:
        if is_paid(request.job):
            return plan_paid(request, kept, launch)
        return plan(request, kept)
    try:
        template = template_of(request.options)
        lease = Lease(request.output, staged_token()) if template else Lease(request.output)
        with lease, interruptible(), stalls_here(lease.token) as stalled:
            args = replace(request, output=replace(request.output, run=lease.token))
            try:
                return _run_under_lease(args, started, lease, stalled)
            except TooManyFailuresError:
                _stop_in_order(request, lease)
                return CHECK_FAILED
            except StalledError:
                # The liveness reporter has said what to do.
                _stop_in_order(request, lease, forget=False)
                return STOPPED
            except WorkersLostError:
                # What they had in hand may be what ended them, so its markers stay.
                _stop_in_order(request, lease, forget=False)
                print(
                    f"beamscribe {request.job.name}: stopped: no worker has given a sign for {LOST_SECONDS:g} s. "
                    "What is committed stays; run the same command again",
                    file=sys.stderr,
                )
                return STOPPED
            except (LeaseLostError, RunStoppedError):
                # Nothing in the output is this run's any more, its temporaries and markers neither.
                stop(lease.token, STOP_SECONDS)
                print(
                    f"beamscribe {request.job.name}: stopped: {lease.why_lost}. What is committed stays; run the same "
                    "command again when no other does",
                    file=sys.stderr,
                )
                return STOPPED
            except KeyboardInterrupt:
                _stop_in_order(request, lease)
                print(f"\ninterrupted; what is committed stays. Continue with:\n  {_command_line()}", file=sys.stderr)
                return INTERRUPTED
    except OSError as error:
        print(
            printable(f"beamscribe {request.job.name}: stopped: {error}. Run the same command again."), file=sys.stderr
        )
        return STOPPED


def _stop_in_order(request: Request, lease: Lease, forget: bool = True) -> None:
    """Ends a pipeline that is still running, whether or not the process ends too."""
    # A commit that has begun may finish, a later one never begins.
    stop(lease.token, STOP_SECONDS)
    if not is_elsewhere(request.options):
        # A worker process may have ended in the middle of a file.
        _remove_temporaries(request.output)
    if forget:
        forget_started(request.output)


def _remove_temporaries(output: Storage) -> None:
    for name in output.temporaries(OWN_FOLDERS):
        output.delete(name)


def _run_under_lease(request: Request, started: datetime.datetime, lease: Lease, stalled: Sequence[str]) -> int:
    # Another run may have ended just before the lease was ours.
    earlier = read_manifest_of(request.output)
    kept = _kept(request, earlier)
    ledger = Ledger(request.output, request.job.format)
    _remove_temporaries(request.output)
    if crashed_before(request.output):
        suspect_started(request.output)
    asked = asked_captions(request.corpus.references, request.job.format.holds_captions, request.flags.on_change)
    try:
        current, old = _current(ledger, (earlier.fingerprint if earlier else request.fingerprint).digest, kept, asked)
    except NewerSchemaError as error:
        raise RefusedError(str(error)) from error
    except ValueError as error:
        raise RefusedError(f"{error}: delete that file, and its images are done again") from error
    unlisted, bare = Unlisted(request, (*current, *old)), request
    known = unlisted.look()
    request = replace(bare, corpus=known.corpus)
    before = ledger.completion_of(request.corpus.references.ids, current)
    assigned = assign(request, known, before, kept, started)
    elsewhere, template = is_elsewhere(request.options), template_of(request.options)
    # A commit whose images all failed may be made anew under the same name.
    told = [receipt.name for receipt in (*current, *old) if receipt.rows]
    progress = Progress(
        request.output,
        request.job.name,
        started,
        assigned.references,
        known=told,
        alone=elsewhere,
        containers=known.unfinished,
    )
    # Receipts hold all ids, which nobody needs while the job runs.
    del current, old
    # Of a container not even the number of slices is known, and an engine may take its time to end.
    lookout = LivenessMonitor(request.output, assigned.shards)
    foretold = not (known.unfinished and request.flags.max_failures and request.flags.max_failures.percent)

    def look() -> None:
        lease.check()
        if stalled:
            raise StalledError
        # Storage that does not answer now is no reason to give up what is being committed.
        with contextlib.suppress(OSError), progress.look_if_due() as signs:
            if signs and foretold and exceeds_failures(request, assigned.failures + progress.failures):
                raise TooManyFailuresError
            if signs and lookout.lost(signs):
                raise WorkersLostError

    job = request.job.stage_artifacts(request.output) if elsewhere else request.job
    run = Run(
        request.output,
        request.job.format,
        request.fingerprint.digest,
        started,
        request.flags.stall_timeout,
        processes_a_machine(request.options),
    )
    with progress, crashes_noted(request.output):
        pending, commits = ReadPending(request.output), CommitShards(job, run)
        failed = run_pipeline(assigned.parts, pending, commits, request.options, look)
    lease.confirm()
    if template and failed is None:
        # What the job needs stays until its last step, or until another command does what is to do.
        print(
            f"beamscribe {request.job.name}: {len(request.corpus.references)} in the corpus: {assigned.references} to "
            f"do in {counted(assigned.shards, 'shard')}{archives(known)} by the job that is staged at {template} → "
            f"{request.output.uri()}"
        )
        return DONE
    # An engine may have started a worker again that was lost in the middle of a file.
    _remove_temporaries(request.output)
    if isinstance(failed, WorkerLostError) and failed.crashed:
        suspect_started(request.output)
    write_pending(request.output, ())
    if known.unfinished:
        known = unlisted.look()
        request = replace(bare, corpus=known.corpus)
        store_asked(request, known, kept, started)
        if failed is None:
            refuse_empty(known)

    current, replaced = _current(ledger, request.fingerprint.digest, kept, asked)
    code = tell_outcome(request, known, ledger, current, started, failed)
    if code == DONE and replaced:
        # Only now, when everything that replaces them is committed.
        ledger.remove_done(replaced, current)
        request.job.tidy(request.output)
    return code


def _current(
    ledger: Ledger, latest: str, kept: Sequence[str], asked: Mapping[str, str]
) -> tuple[list[Receipt], list[Receipt]]:
    """Settles and sweeps: the commits that count, and those that are being replaced."""
    receipts = ledger.settle(latest)
    counted = [receipt for receipt in receipts if receipt.fingerprint in kept]
    stale = stale_rows(counted, asked)
    if stale and remove_stale(ledger, counted, stale):
        return _current(ledger, latest, kept, asked)
    current = without_stale(ledger.sweep(counted, stale), stale)
    return current, [receipt for receipt in receipts if receipt.fingerprint not in kept]


def _kept(request: Request, earlier: Manifest | None) -> list[str]:
    return kept_fingerprints(request.output, earlier, request.job, request.fingerprint, request.flags.on_change)


def _command_line() -> str:
    """The command as it was typed, but for what may be a credential."""
    arguments = list(sys.argv[1:])
    for place, argument in enumerate(arguments):
        if argument.startswith("--storage-options="):
            arguments[place] = "--storage-options=…"
        elif place and arguments[place - 1] == "--storage-options":
            arguments[place] = "…"
    return shlex.join(["beamscribe", *arguments])
