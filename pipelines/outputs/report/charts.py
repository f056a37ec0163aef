"""Histograms as rows of a table: what each bar stands for, how long it is, and its count."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from beamscribe.pipelines.outputs.report.survey import Bar

MOST_BARS = 14
"""Of a histogram; more are hard to read, so neighbours are counted together."""

STEPS = (1, 2, 5)
"""Neighbours that are counted together, times a power of ten: the ends of bars stay numbers that people use."""


class Line(NamedTuple):
    """A bar as a row of the table.

    Attributes:
        label: the values that it stands for.
        captions: that have one of them.
        percent: length of the bar, of the longest.
    """

    label: str
    captions: int
    percent: float


def coarser(bars: Sequence[Bar], most: int = MOST_BARS) -> list[Bar]:
    """Bars of equal width side by side, at most so many, whose ends are multiples of their width.

    Args:
        bars: of equal width, without gaps, the lowest first.
        most: bars that are left.
    """
    if len(bars) <= most:
        return list(bars)
    width = bars[0].high - bars[0].low
    widths = (step * 10**power for power in itertools.count() for step in STEPS)
    while True:
        together = next(widths)
        counted: dict[int, int] = {}
        for bar in bars:
            place = round(bar.low / width) // together
            counted[place] = counted.get(place, 0) + bar.captions
        if len(counted) <= most:
            wide = width * together
            return [Bar(place * wide, (place + 1) * wide, captions) for place, captions in sorted(counted.items())]


def histogram(bars: Sequence[Bar], digits: int) -> tuple[Line, ...]:
    """A histogram; empty where nothing is counted.

    Args:
        bars: without gaps, the lowest first.
        digits: behind the point, of the ends of a bar; 0 for whole numbers.
    """
    shown = coarser(bars)
    most = max((bar.captions for bar in shown), default=0)
    return tuple(Line(_label(bar, digits), bar.captions, 100 * bar.captions / max(1, most)) for bar in shown)


def _label(bar: Bar, digits: int) -> str:
    if digits:
        return f"{signed(bar.low, digits)} to {signed(bar.high, digits)}"
    low, high = round(bar.low), round(bar.high) - 1
    return f"{low}" if low == high else f"{low} to {high}"


def signed(number: float, digits: int = 1) -> str:
    """A number with a minus sign instead of a hyphen, and without one where it is rounded to zero."""
    rounded = round(number, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")
