"""What an output holds of what was asked, counted from its committed shards, and told at the end of a job."""

from collections.abc import Mapping, Sequence

from beamscribe.pipelines.commits.completion import Completion
from beamscribe.pipelines.commits.ledger import count_failures
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.work.stopwatch import metrics_lines
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.stage_metrics import total


def failure_lines(failures: Sequence[FailureRow]) -> list[str]:
    """Failures by reason."""
    return [
        printable(f"{count} × {stage}: {error_type}")
        for (stage, error_type), count in sorted(count_failures(failures).items())
    ]


def most_frequent(failures: Sequence[FailureRow]) -> str:
    """Why nothing could be done, where every item failed: the reason that most failures have, with one message."""
    counts = count_failures(failures)
    stage, kind = max(counts, key=lambda reason: counts[reason])
    message = next(row.message for row in failures if (row.stage, row.error_type) == (stage, kind))
    return f"every one failed, {counts[stage, kind]} with {stage}: {kind}: {printable(message, length=200)}"


def done_in(run_started: str, receipts: Sequence[Receipt]) -> int:
    """Rows and failure rows that a run committed.

    Args:
        run_started: ISO 8601, as its receipts have it.
        receipts: of all runs.
    """
    now = [receipt for receipt in receipts if receipt.run_started == run_started]
    return sum(len(file.ids) for receipt in now for file in (receipt.rows, receipt.failures) if file)


def left_out(repeated: int, skipped: Mapping[str, int]) -> str:
    """What a corpus names beyond its references, as the end of a sentence; empty where that is nothing.

    Args:
        repeated: references beyond the first of their id.
        skipped: counts by reason.
    """
    told = f", {repeated} repeated" if repeated else ""
    if skipped:
        reasons = ", ".join(printable(f"{count} {reason}") for reason, count in sorted(skipped.items()))
        told += f", {sum(skipped.values())} skipped ({reasons})"
    return told


def summary_lines(found: Completion, corpus: Corpus, this_run: Sequence[Receipt], seconds: float) -> list[str]:
    """What an output holds and what the run that ended has added, as a table for people.

    Args:
        found: of the output.
        corpus: that was asked for.
        this_run: receipts of the run.
        seconds: that the run took.
    """
    files = [file for receipt in this_run for file in receipt.files]
    written = "rows and tars" if any(receipt.tar for receipt in this_run) else "rows"
    lines = [
        f"{found.rows:>12,}  done",
        f"{len(found.failures):>12,}  failed",
        *(f"{'':>12}    {line}" for line in failure_lines(found.failures)),
    ]
    if corpus.repeated:
        lines.append(f"{corpus.repeated:>12,}  repeated references counted once")
    lines += [printable(f"{count:>12,}  skipped: {reason}") for reason, count in sorted(corpus.skipped.items())]
    lines += [f"{'':>12}  {line}" for line in metrics_lines(total(one.spent for one in this_run if one.spent))]
    if files:
        lines.append(f"{sum(len(file.ids) for file in files) / max(seconds, 1e-3):>12,.1f}  a second in this run")
        lines.append(f"{sum(file.size for file in files):>12,}  bytes of {written} in this run")
    return lines
