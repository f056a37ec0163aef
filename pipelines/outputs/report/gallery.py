"""Which images a report shows: a fair sample, the surest and the least sure, and some that had to be repaired."""

import hashlib
import heapq
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from beamscribe.schemas import caption_row
from beamscribe.schemas.caption_row import Alternative, CaptionRow

SAMPLED, BEST, WORST, REPAIRED = "sampled", "best", "worst", "repaired"
GROUPS = (SAMPLED, BEST, WORST, REPAIRED)


MOST_SHOWN, MOST_CHARACTERS = 20, 1000
"""Alternatives, flags and repairs of an image, and characters of each, that a page shows."""


class Choice(NamedTuple):
    """An image that is shown.

    Attributes:
        row: its caption.
        groups: those of `GROUPS` that it was chosen for, at least one.
    """

    row: CaptionRow
    groups: tuple[str, ...]


class Gallery:
    """Chooses among rows that pass by, file after file, keeping only those that may be shown.

    The choice depends on the rows alone, not on their order: the sample is of the least digests of ids.

    Args:
        images: to be shown at most; as many are shown if there are so many. A sixth each are the best, the worst
            and the repaired, the rest is the sample: half of them at least, more where the others are the same ones.
    """

    def __init__(self, images: int) -> None:
        rest = images // 6
        self._images = images
        self._wanted = {SAMPLED: images, BEST: rest, WORST: rest, REPAIRED: rest}
        self._kept: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}

    def pass_by(self, rows: Sequence[dict[str, Any]]) -> None:
        """Looks at the rows of one file, as Parquet gives them back."""
        for group, candidates in self._kept.items():
            some = [row for row in rows if row["repairs"]] if group == REPAIRED else list(rows)
            self._kept[group] = heapq.nsmallest(self._wanted[group], candidates + some, key=_ORDER[group])

    def choices(self) -> list[Choice]:
        """The images to show, the best-scored first, each once with all that it was chosen for."""
        groups: dict[str, list[str]] = {}
        rows: dict[str, dict[str, Any]] = {}
        for group in (BEST, WORST, REPAIRED):
            for row in self._kept[group]:
                rows[row["id"]] = row
                groups.setdefault(row["id"], []).append(group)
        for row in self._kept[SAMPLED]:
            if row["id"] in rows:
                groups[row["id"]].insert(0, SAMPLED)
            elif len(rows) < self._images:
                rows[row["id"]] = row
                groups[row["id"]] = [SAMPLED]
            else:
                break
        return [Choice(_typed(row), tuple(groups[row["id"]])) for row in sorted(rows.values(), key=_ORDER[BEST])]


def _drawn(row: dict[str, Any]) -> str:
    """A number that is as good as random, and the same in every report."""
    return hashlib.blake2b(row["id"].encode(), digest_size=8).hexdigest()


def _sureness(row: dict[str, Any]) -> float | None:
    """The confidence, or where the captioner was not calibrated the score."""
    confidence = row.get("confidence")
    return row["score"] if confidence is None else confidence


_ORDER: dict[str, Callable[[dict[str, Any]], Any]] = {
    SAMPLED: _drawn,
    # Rows without a score come last in both.
    BEST: lambda row: (_sureness(row) is None, -(_sureness(row) or 0.0), row["id"]),
    WORST: lambda row: (_sureness(row) is None, _sureness(row) or 0.0, row["id"]),
    REPAIRED: _drawn,
}


def _typed(fields: dict[str, Any]) -> CaptionRow:
    alternatives = tuple(
        Alternative(shortened(one["caption"]), one["score"]) for one in fields["alternatives"][:MOST_SHOWN]
    )
    lists = {name: tuple(map(shortened, fields[name][:MOST_SHOWN])) for name in ("flags", "repairs")}
    own = {name: value for name, value in fields.items() if name in caption_row.SCHEMA.names}
    return CaptionRow(**{**own, **lists, "caption": shortened(fields["caption"]), "alternatives": alternatives})


def shortened(text: str) -> str:
    """As much of a text as a page shows."""
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
