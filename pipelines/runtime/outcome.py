"""What a run has come to: what people are told at its end, and its exit code."""

import datetime
import sys

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED
from beamscribe.log_lines import tell
from beamscribe.pipelines.captioners.source import Statement
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.liveness import forget_started
from beamscribe.pipelines.runtime.paid_plan import is_paid
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.summary import done_in, left_out, most_frequent, summary_lines
from beamscribe.pipelines.runtime.unlisted import Known, archives
from beamscribe.pipelines.work.shards import ShardPlan, shard_count
from beamscribe.schemas import sample_tar
from beamscribe.schemas.counted import counted
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import FAILURES, tarred_rows


def tell_outcome(
    request: Request,
    known: Known,
    ledger: Ledger,
    receipts: list[Receipt],
    started: datetime.datetime,
    failed: Exception | None,
) -> int:
    """Prints what an output holds and what a run has added.

    Args:
        request: with the corpus as it is known at the end of the run.
        known: of its containers.
        ledger: of its output.
        receipts: that count.
        started: when the run began.
        failed: why its pipeline ended early, if it did.

    Returns:
        The exit code.
    """
    asked = len(request.corpus.references)
    found = ledger.completion_of(request.corpus.references.ids, receipts)
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    name = f"beamscribe {request.job.name}"
    this_run = [receipt for receipt in receipts if receipt.run_started == started.isoformat()]
    done = done_in(started.isoformat(), receipts)
    before = found.rows + len(found.failures) - done
    told = f"; {before} were done before" if before > 0 else ""
    print(f"{name}: this run did {done} of {asked} in {seconds:.1f} s{told}")
    print("\n".join(summary_lines(found, request.corpus, this_run, seconds)))
    statement = request.job.statement(request.output, started.isoformat()) if is_paid(request.job) else Statement()
    for line in statement.lines:
        print(f"{'':>12}  {line}")
    tars = [sample_tar.FOLDER] if tarred_rows(request.job.format) else []
    for folder in (request.job.format.folder, *tars, FAILURES.folder):
        if request.output.files(folder):
            print(f"{folder:>12}  {request.output.uri(folder)}/")
    if failed is not None:
        print(printable(f"{name}: {failed}", lines=True), file=sys.stderr)
    code, advice = DONE, ""
    if failed is not None or len(found.todo) or known.unfinished:
        shards = shard_count(asked, request.flags.shard_size)
        left = ShardPlan(request.corpus.references, {}, found.todo, shards, request.flags.shard_size)
        left_shards = f"; {counted(len(left), 'shard')} not committed" if len(left) or not known.unfinished else ""
        code, advice = STOPPED, f"{left_shards}{archives(known)}, run the same command again"
        if failed is None and request.most is not None:
            code, advice = DONE, ""
        if statement.exhausted:
            code, advice = CHECK_FAILED, f"; {statement.exhausted}: raise --max-cost and run the command again"
    else:
        # Nothing is in hand; markers of shards that are cut otherwise by now would stay for ever.
        forget_started(request.output)
        request.whole(found)
    if code == DONE and exceeds_failures(request, len(found.failures)):
        code = CHECK_FAILED
    if code == DONE and found.failures and not found.rows:
        code, advice = CHECK_FAILED, f"; {most_frequent(found.failures)}"
    if code == DONE and done:
        for warning in request.job.warnings(request.output, receipts):
            print(printable(f"{name}: warning: {warning}"), file=sys.stderr)
            code = CHECK_FAILED if request.strict else code
    if code == DONE and found.rows:
        for line in request.closing():
            print(printable(line))
    tell(
        sys.stdout,
        "summary",
        f"{name}: {asked} in the corpus: {found.rows} done, {len(found.failures)} failed, {len(found.todo)} to do"
        f"{left_out(request.corpus.repeated, request.corpus.skipped)} → {request.output.uri()}{advice}",
        job=request.job.name,
        asked=asked,
        done=found.rows,
        failed=len(found.failures),
        to_do=len(found.todo),
        this_run=done,
        repeated=request.corpus.repeated,
        skipped=dict(request.corpus.skipped),
        seconds=round(seconds, 3),
        output=request.output.uri(),
        exit_code=code,
    )
    return code


def exceeds_failures(request: Request, failures: int) -> bool:
    """Whether there are more failures than `--max-failures` allows; says so."""
    bound, corpus = request.flags.max_failures, len(request.corpus.references)
    if bound is None or not bound.exceeded(failures, corpus):
        return False
    print(
        f"beamscribe {request.job.name}: {counted(failures, 'failure')} of {corpus}, more than --max-failures {bound} "
        "allows; "
        f"{request.output.uri(FAILURES.folder)} says what they are, and --retry-failed tries them again",
        file=sys.stderr,
    )
    return True
