"""Plots what `beamscribe calibrate` measured of a bundle: the share of acceptable captions against their confidence.

    python docs/demo/confidence.py pretrained/everyday-efficientnet-lite2

writes docs/pictures/confidence.png.
"""

import json
import sys
from pathlib import Path

from matplotlib import pyplot

PICTURE = Path(__file__).resolve().parents[1] / "pictures" / "confidence.png"


def plot(bundle: Path) -> None:
    """Writes the picture of a calibrated bundle."""
    told = json.loads((bundle / "config.json").read_text())["confidence"]
    chances, shares, _ = zip(*told["tenths"], strict=True)
    figure, axes = pyplot.subplots(figsize=(6, 6), layout="constrained")
    axes.plot((0, 1), (0, 1), "--", color="grey", linewidth=1, label="as it should be")
    axes.plot(chances, shares, "o-", label=f"tenths of {told['photographs']:,} held-out photographs")
    axes.set(xlabel="mean confidence", ylabel="share of acceptable captions", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_title(f"AUROC {told['auroc']:.2f}, expected calibration error {told['calibration_error']:.3f}")
    axes.legend()
    figure.savefig(PICTURE, dpi=100)


if __name__ == "__main__":
    plot(Path(sys.argv[1]))
