"""The failures that a page shows: counted by reason, and some of each."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from beamscribe.schemas.failure_row import FailureRow

MOST_SHOWN = 200
"""Failures with a card of their own; the others are counted."""

MOST_CHARACTERS = 1000
"""Of a message on the page."""


class Reason(NamedTuple):
    """Failures of one kind, and one of them."""

    stage: str
    error_type: str
    images: int
    example: FailureRow

    @property
    def name(self) -> str:
        """As the page calls it."""
        return f"{self.stage}: {self.error_type}"


class FailedCard(NamedTuple):
    """A failed image of the gallery.

    Attributes:
        row: of `failures/`.
        name: the end of its URI.
        reason: index of its `Reason`.
    """

    row: FailureRow
    name: str
    reason: int


def _by_kind(failures: Sequence[FailureRow]) -> list[list[FailureRow]]:
    """Failures of a kind together, the most frequent kind first."""
    kinds: dict[tuple[str, str], list[FailureRow]] = {}
    for row in sorted(failures, key=lambda row: row.id):
        kinds.setdefault((row.stage, row.error_type), []).append(row)
    return [rows for kind, rows in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))]


def reasons(failures: Sequence[FailureRow]) -> tuple[Reason, ...]:
    """Failures by stage and type, the most frequent first."""
    return tuple(Reason(rows[0].stage, rows[0].error_type, len(rows), rows[0]) for rows in _by_kind(failures))


def failed_cards(failures: Sequence[FailureRow], most: int = MOST_SHOWN) -> tuple[FailedCard, ...]:
    """Some failures of every kind: a kind that is rare is shown whole before a frequent one gets more cards.

    Args:
        failures: rows, in any order.
        most: cards.
    """
    kinds = _by_kind(failures)
    # One of each kind, then the second of each, and so on.
    taken = itertools.zip_longest(*([(index, row) for row in rows] for index, rows in enumerate(kinds)))
    chosen = [one for turn in taken for one in turn if one is not None][:most]
    return tuple(
        FailedCard(_short(row), row.image_uri.rstrip("/").rsplit("/", 1)[-1], index)
        for index, row in sorted(chosen, key=lambda one: one[0])
    )


def _short(row: FailureRow) -> FailureRow:
    cut = row.message[: MOST_CHARACTERS - 1] + "…" if len(row.message) > MOST_CHARACTERS else row.message
    return row._replace(message=cut)
