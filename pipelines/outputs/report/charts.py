"""Histograms as the numbers that an SVG is drawn with."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from beamscribe.pipelines.outputs.report.survey import Bar

WIDTH, HEIGHT = 640.0, 180.0
"""Size of the plot in the SVG's own units, without the labels below it."""

TICKS = 6
"""Labels below the bars at most."""


class Rectangle(NamedTuple):
    """A bar as it is drawn, with the bar that it stands for."""

    x: float
    y: float
    width: float
    height: float
    bar: Bar


class Tick(NamedTuple):
    """A label below the bars."""

    x: float
    label: str


class Chart(NamedTuple):
    """A histogram as it is drawn."""

    rectangles: tuple[Rectangle, ...]
    ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT


def histogram(bars: Sequence[Bar], whole_numbers: bool) -> Chart | None:
    """A chart of bars side by side; None where there are none.

    Args:
        bars: without gaps, the lowest first.
        whole_numbers: whether a bar stands for one number, which is written below its middle, or for all values
            between two, which are written below its sides.
    """
    if not bars:
        return None
    step = WIDTH / len(bars)
    most = max(bar.captions for bar in bars)
    rectangles = [
        Rectangle(index * step, HEIGHT * (1 - bar.captions / most), step * 0.88, HEIGHT * bar.captions / most, bar)
        for index, bar in enumerate(bars)
    ]
    if whole_numbers:
        places = [(index * step + step * 0.44, f"{bar.low:.0f}") for index, bar in enumerate(bars)]
    else:
        sides = [bar.low for bar in bars] + [bars[-1].high]
        places = [(index * step - step * 0.06, signed(side)) for index, side in enumerate(sides)]
    every = math.ceil(len(places) / TICKS)
    return Chart(tuple(rectangles), tuple(Tick(*place) for place in places[::every]))


def signed(number: float, digits: int = 1) -> str:
    """A number with a minus sign instead of a hyphen."""
    return f"{number + 0.0:.{digits}f}".replace("-", "−")
