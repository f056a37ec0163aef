"""What an output holds of what was asked: every id of a corpus has a row, a failure row, or is still to do."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beamscribe.pipelines.work.work_items import TEXT
from beamscribe.schemas.failure_row import FailureRow


class Completion(NamedTuple):
    """Every id that was asked is in exactly one of the three.

    Attributes:
        rows: number of ids with a row.
        failures: the newest failure row of each id that has no row, in the order of the corpus.
        failed: (len(failures),) integers, places of these ids in the corpus.
        todo: (count,) integers, places of ids with neither.
    """

    rows: int
    failures: list[FailureRow]
    failed: np.ndarray
    todo: np.ndarray

    def pending(self, retry_failed: bool) -> np.ndarray:
        """Places of what a run has to do."""
        return np.union1d(self.todo, self.failed) if retry_failed else self.todo

    def attempts(self) -> dict[str, int]:
        """How many runs have failed at each id that has a failure row."""
        return {row.id: row.attempts for row in self.failures}


def completion_of(
    asked: pa.LargeStringArray | pa.ChunkedArray, rows: Iterable[str], failures: Iterable[FailureRow]
) -> Completion:
    """Counts ids.

    Args:
        asked: distinct ids of the corpus.
        rows: ids of committed rows, of this corpus and of others.
        failures: committed failure rows, of this corpus and of others.
    """
    newest = newest_failures(failures)
    has_row, has_failure = _is_in(asked, rows), _is_in(asked, newest)
    failed = np.flatnonzero(has_failure & ~has_row)
    return Completion(
        rows=int(has_row.sum()),
        failures=[newest[id] for id in asked.take(pa.array(failed)).to_pylist()],
        failed=failed,
        todo=np.flatnonzero(~has_row & ~has_failure),
    )


def _is_in(asked: pa.LargeStringArray | pa.ChunkedArray, ids: Iterable[str]) -> np.ndarray:
    return np.asarray(pc.is_in(asked, value_set=pa.array(ids, TEXT)))  # pyright: ignore[reportAttributeAccessIssue]


def newest_failures(rows: Iterable[FailureRow]) -> dict[str, FailureRow]:
    """The failure of each id that counts: the one with the most attempts, the newest among equals."""
    newest: dict[str, FailureRow] = {}
    for row in rows:
        best = newest.get(row.id)
        if best is None or (row.attempts, row.run_started) > (best.attempts, best.run_started):
            newest[row.id] = row
    return newest
