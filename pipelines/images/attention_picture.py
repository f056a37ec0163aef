"""Draws the attentions of a captioner as one picture."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from beamscribe.model.attention_maps import SelfAttentions, WordAttention
    from beamscribe.model.word_choices import WordChoice

COLUMNS = 5
"""Words side by side."""

CELL_INCHES = 2.2
TEXT_INCHES = 0.5
"""Below each word's map, for its alternatives."""

LOOKS = "cross-attention: where the decoder looks when it writes each word, and what it could have written instead"
MISSES = (
    "this decoder looks at no places: where hiding a part of the photograph makes each word less probable, and what "
    "could have been written instead"
)
DARKEST = 0.75
"""Opacity of the shade on what is not looked at."""


class Explained(NamedTuple):
    """What there is to draw.

    Attributes:
        pixels: uint8 (height, width, 3), the image as the backbone sees it.
        aspect: width / height of the original.
        caption: of it.
        words: a map for each word.
        within: the self-attentions.
        cell: (row, column) whose self-attention in the encoder is drawn, from 0.
        grid: rows and columns of the cells.
        choices: probability and alternatives of each word.
        looks: whether the maps are of cross-attention; else of what is missed where it is hidden, since the decoder
            looks at no places.
    """

    pixels: np.ndarray
    aspect: float
    caption: str
    words: Sequence["WordAttention"]
    within: "SelfAttentions"
    cell: tuple[int, int]
    grid: tuple[int, int]
    choices: Sequence["WordChoice"] = ()
    looks: bool = True

    def picture(self) -> bytes:
        """The picture of `beamscribe explain`, as a PNG file."""
        return draw(self)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.picture()


def draw(found: Explained) -> bytes:
    """The picture as a PNG file: encoder and decoder self-attention above, cross-attention word by word below."""
    # Without pyplot, which would keep the figure in a global and ask for a display.
    from matplotlib.figure import Figure

    rows = math.ceil(len(found.words) / COLUMNS)
    figure = Figure(
        figsize=(CELL_INCHES * COLUMNS, CELL_INCHES * 1.55 + (CELL_INCHES + TEXT_INCHES) * rows + 0.8),
        layout="constrained",
    )
    figure.suptitle(found.caption, fontsize=15)
    parts = figure.add_gridspec(2, 1, height_ratios=[1.55, max(rows, 0.01)])
    above, below = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    # A captioner without self-attention has no panel for it.
    panels = [part for part in (_encoder, _decoder) if part is not _encoder or found.within.encoder is not None]
    panels = [part for part in panels if part is not _decoder or found.within.decoder is not None]
    image, *others = above.subplots(1, 1 + len(panels), squeeze=False)[0]
    _photograph(image, found, "the photograph")
    for axes, panel in zip(others, panels, strict=True):
        panel(axes, found)
    if rows:
        below.suptitle(LOOKS if found.looks else MISSES, fontsize=10)
        places = below.subplots(rows, COLUMNS, squeeze=False).flat
        for place, word in zip(places, found.words, strict=False):
            _photograph(place, found, word.word, word.weights)
        for place, choice in zip(below.axes, found.choices, strict=False):
            _alternatives(place, choice)
        for place in below.axes[len(found.words) :]:
            place.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _photograph(axes: "Axes", found: Explained, title: str, weights: np.ndarray | None = None) -> None:
    """The photograph, dark where it is not looked at."""
    height, width = found.pixels.shape[:2]
    everywhere = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(found.pixels, extent=everywhere)
    if weights is not None:
        span = float(weights.max() - weights.min()) or 1.0
        shade = np.zeros((*weights.shape, 4))
        shade[..., 3] = DARKEST * (1 - (weights - weights.min()) / span)
        axes.imshow(shade, extent=everywhere, interpolation="bicubic")
    axes.set_aspect(width / height / found.aspect)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def _encoder(axes: "Axes", found: Explained) -> None:
    row, column = found.cell
    if found.within.encoder is None:
        raise ValueError("this encoder has no attention")
    weights = found.within.encoder[row * found.grid[1] + column].reshape(found.grid)
    _photograph(axes, found, f"encoder self-attention of cell {row},{column}", weights)
    height, width = (side / cells for side, cells in zip(found.pixels.shape, found.grid, strict=False))
    axes.plot((column + 0.5) * width, (row + 0.5) * height, "o", markersize=9, fillstyle="none", color="#ff9f1c", mew=2)


def _decoder(axes: "Axes", found: Explained) -> None:
    tokens = [token.removeprefix("##") for token in found.within.tokens]
    if found.within.decoder is None:
        raise ValueError("this decoder has no self-attention")
    axes.imshow(found.within.decoder, cmap="cividis", vmin=0)
    axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=8)
    axes.set_yticks(range(len(tokens)), tokens, fontsize=8)
    axes.set_title("decoder self-attention, row by row", fontsize=10)


def _alternatives(axes: "Axes", choice: "WordChoice") -> None:
    """Below a word's map how probable it was, and what else could have been written there."""
    told = [
        f"{choice.word}  {choice.probability:.0%}",
        *(f"{one.word}  {one.probability:.0%}" for one in choice.alternatives),
    ]
    axes.set_title(told[0], fontsize=10)
    # As text: a word with dollar signs is no formula.
    axes.text(
        0.5,
        -0.04,
        "\n".join(told[1:]),
        transform=axes.transAxes,
        ha="center",
        va="top",
        fontsize=8,
        color="#555555",
        parse_math=False,
    )
