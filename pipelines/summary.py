"""What an output holds of what was asked, counted from its committed shards, and told at the end of a job."""

import argparse
import sys
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pipelines.commit import Receipt
from pipelines.ledger import Ledger, count_failures
from schemas.failure_row import FailureRow


class Tally(NamedTuple):
    """Every id that was asked is in exactly one of the three.

    Attributes:
        rows: number of ids with a row.
        failures: failure rows.
        todo: ids with neither.
    """

    rows: int
    failures: list[FailureRow]
    todo: set[str]


def tally(asked: Collection[str], ledger: Ledger, receipts: Sequence[Receipt]) -> Tally:
    """Counts ids.

    Args:
        asked: distinct ids of the corpus.
        ledger: of the output.
        receipts: those that count.
    """
    asked = set(asked)
    rows = asked.intersection(id for receipt in receipts if receipt.rows for id in receipt.rows.ids)
    failures = {row.id: row for receipt in receipts for row in ledger.failures(receipt) if row.id in asked}
    failed = [row for id, row in failures.items() if id not in rows]
    return Tally(len(rows), failed, asked - rows - failures.keys())


def failure_lines(failures: Sequence[FailureRow]) -> list[str]:
    """Failures by reason."""
    return [
        f"{count} × {stage}: {error_type}" for (stage, error_type), count in sorted(count_failures(failures).items())
    ]


def done_in(run_started: str, receipts: Sequence[Receipt]) -> int:
    """Rows and failure rows that a run committed.

    Args:
        run_started: ISO 8601, as its receipts have it.
        receipts: of all runs.
    """
    now = [receipt for receipt in receipts if receipt.run_started == run_started]
    return sum(len(file.ids) for receipt in now for file in (receipt.rows, receipt.failures) if file)


class FailureBound(NamedTuple):
    """`--max-failures`: a number of failure rows, or a percentage of the corpus.

    Attributes:
        number: of either.
        percent: which.
    """

    number: float
    percent: bool

    def exceeded(self, failures: int, corpus: int) -> bool:
        """Whether there are more failure rows than allowed in a corpus of so many ids."""
        return failures > (self.number * corpus / 100 if self.percent else self.number)

    def __str__(self) -> str:
        return f"{self.number:g}{'%' if self.percent else ''}"


def failure_bound(text: str) -> FailureBound:
    """Reads `N` or `P%`, for argparse."""
    percent = text.endswith("%")
    try:
        bound = FailureBound(float(text.removesuffix("%")) if percent else int(text), percent)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither a number of images nor a percentage such as 5%") from None
    if not 0 <= bound.number <= (100 if percent else sys.maxsize):
        raise argparse.ArgumentTypeError(f"{text} is no possible share of the images")
    return bound
