"""`python -m benchmarks.strange_pictures`: how sure the captioner is of pictures that are no photographs.

It draws noise, gradients, charts, pages of text and lines, captions them, and prints the confidence of each kind
beside that of photographs. No caption of these pictures can be right, so the share of photographs whose captions have
more confidence than a strange picture's (AUROC) says whether confidence tells them apart.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from beamscribe import Captioner
from beamscribe.pipelines.outputs.captions import open_captions, rows_by_file

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after the choice of what draws

EACH = 24
SIDE = 320
WORDS = ["the", "of", "and", "to", "it", "was", "for", "that", "with", "from", "his", "they"]


class Kind(NamedTuple):
    """How sure the captioner is of the pictures of a kind.

    Attributes:
        name: of the kind.
        confidence: of the caption of each picture.
        caption: of the first one.
    """

    name: str
    confidence: np.ndarray
    caption: str


def noise(random: np.random.Generator) -> Image.Image:
    """Random pixels, of one size or in blocks."""
    block = int(random.choice([1, 4, 16]))
    pixels = random.integers(0, 256, (SIDE // block, SIDE // block, 3), np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def gradient(random: np.random.Generator) -> Image.Image:
    """One colour that becomes another."""
    first, second = random.integers(0, 256, (2, 3))
    share = np.linspace(0, 1, SIDE)[:, None, None]
    return Image.fromarray(np.broadcast_to(first + share * (second - first), (SIDE, SIDE, 3)).astype(np.uint8))


def chart(random: np.random.Generator) -> Image.Image:
    """Lines or bars with axes."""
    figure, axes = pyplot.subplots(figsize=(4, 4), dpi=80)
    if random.random() < 0.5:
        axes.bar(range(8), random.random(8))
    else:
        axes.plot(random.standard_normal((3, 40)).cumsum(axis=1).T)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close(figure)
    return Image.open(buffer).convert("RGB")


def page(random: np.random.Generator) -> Image.Image:
    """Black words on white."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    for top in range(10, SIDE - 20, 14):
        draw.text((12, top), " ".join(random.choice(WORDS, 10)), fill="black")
    return picture


def drawing(random: np.random.Generator) -> Image.Image:
    """Outlines of simple shapes on white."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        (left, top), (width, height) = random.integers(0, SIDE - 60, 2), random.integers(20, 160, 2)
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape([int(left), int(top), int(left + width), int(top + height)], outline="black", width=3)
    return picture


KINDS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "noise": noise,
    "gradients": gradient,
    "charts": chart,
    "pages of text": page,
    "line drawings": drawing,
}


def separation(photographs: np.ndarray, strange: np.ndarray) -> float:
    """AUROC: the chance that a photograph has more confidence than a strange picture; of equal ones a half."""
    more = photographs[:, None] > strange[None, :]
    return float(np.mean(more + 0.5 * (photographs[:, None] == strange[None, :])))


def measure(captioner: Captioner, each: int = EACH) -> list[Kind]:
    """Captions pictures of each kind; the same ones every time."""
    random = np.random.default_rng(0)
    kinds = []
    for name, draw in KINDS.items():
        found = captioner.caption([np.asarray(draw(random)) for _ in range(each)])
        kinds.append(Kind(name, np.array([one.confidence for one in found], float), found[0].text))
    return kinds


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a calibrated bundle; the embedded one by default")
    parser.add_argument(
        "--captions", required=True, help="output of beamscribe caption of photographs, by the same bundle"
    )
    args = parser.parse_args(argv)
    rows = [row for rows in rows_by_file(open_captions(args.captions, {})) for row in rows]
    photographs = np.array([row["confidence"] for row in rows], float)
    kinds = measure(Captioner.load(args.model))
    print("| | pictures | median confidence | AUROC against photographs | a caption |\n|---|---|---|---|---|")
    print(f"| photographs | {len(photographs)} | {np.median(photographs):.2f} | | |")
    for kind in kinds:
        apart = separation(photographs, kind.confidence)
        median = np.median(kind.confidence)
        print(f"| {kind.name} | {len(kind.confidence)} | {median:.2f} | {apart:.3f} | {kind.caption} |")
    apart = separation(photographs, np.concatenate([kind.confidence for kind in kinds]))
    print(f"| all of them | {EACH * len(kinds)} | | {apart:.3f} | |")


if __name__ == "__main__":
    main()
