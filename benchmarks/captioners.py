"""`python -m benchmarks.captioners`: the captioners of the source and ours, on the same features, in one table.

Each tries the same peaks of the learning rate on some of the images; the one with the smallest loss on held-out
photographs, where captions are worth nothing yet, is taken for all images, and the captions of photographs that no
training saw are scored, greedy and at beam 3. Cross-entropy only. What is there already is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from beamscribe.model.decoder_names import DECODERS, TRANSFORMER

RATES = (2e-4, 4e-4, 8e-4)
BEAMS = (1, 3)
LOSS = "validation_token_loss"
RECIPE = """from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(batch_size=32, label_smoothing=0.1, vocabulary_size=3000{fields})
"""
# The source's are built as the source builds them, one block of width 512; ours as in the embedded bundle's recipe.
OURS = ", width=256, feed_forward=1024, decoder_blocks=2, visual_dropout=0.3"


class Row(NamedTuple):
    """Scores of one captioner.

    Attributes:
        decoder: which.
        rate: peak of the learning rate that was chosen.
        epochs: the best of those made.
        scores: by beam size.
    """

    decoder: str
    rate: float
    epochs: str
    scores: dict[int, dict]


def beamscribe(*arguments: object) -> None:
    """Runs a command and stops at its failure."""
    command = [sys.executable, "-m", "beamscribe", *map(str, arguments)]
    found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{' '.join(command)}\n{found.stderr}")


def train(bundle: Path, features: list[str], decoder: str, rate: float, epochs: int) -> dict:
    """The metrics of a bundle, which is made where it is not there."""
    if not (bundle / "metrics.json").exists():
        recipe = bundle.with_suffix(".py")
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(RECIPE.format(fields=OURS if decoder == TRANSFORMER else ""))
        beamscribe(
            "train", "--features", *features, "--output", bundle, "--config", recipe, "--decoder", decoder,
            "--learning-rate", rate, "--epochs", epochs, "--work", bundle.with_suffix(".work"),
        )  # fmt: skip
    return json.loads((bundle / "metrics.json").read_text())


def scores(bundle: Path, beams: int, args: argparse.Namespace) -> dict:
    """What the bundle's captions of the validation photographs score."""
    captions, found = bundle.with_suffix(f".beam{beams}"), bundle.with_suffix(f".beam{beams}.json")
    if not found.exists():
        beamscribe(
            "caption", "--features", *args.validation, "--model", bundle, "--output", captions, "--beam-size", beams
        )  # fmt: skip
        beamscribe("evaluate", "--captions", captions, "--annotations", args.annotations, "--output", found)
    return json.loads(found.read_text())["captions"]


def measure(decoder: str, args: argparse.Namespace) -> Row:
    """Tries the rates, trains with the best, captions and evaluates."""
    tried = {
        rate: train(args.work / f"{decoder}-{1e4 * rate:.0f}e-4", args.some_features, decoder, rate, args.some_epochs)
        for rate in RATES
    }
    best = min(RATES, key=lambda rate: tried[rate][LOSS])
    bundle = args.work / decoder
    metrics = train(bundle, args.features, decoder, best, args.epochs)
    (member,) = metrics["members"]
    of_rates = ", ".join(f"{rate:g}: {found[LOSS]:.3f}" for rate, found in tried.items())
    print(f"{decoder}: held-out loss of the rates {of_rates}", flush=True)
    return Row(
        decoder,
        best,
        f"{member['best_epoch']} of {member['epochs']}",
        {beams: scores(bundle, beams, args) for beams in BEAMS},
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| captioner | learning rate | epoch | search | CIDEr | BLEU-4 | METEOR | distinct |", "|" + "---|" * 8]
    for row in rows:
        for beams, found in row.scores.items():
            search = "greedy" if beams == 1 else f"beam {beams}"
            values = [f"{found['scores'][name]['value']:.3f}" for name in ("cider", "bleu_4", "meteor")]
            distinct = str(found["diversity"]["distinct_captions"])
            cells = [f"`{row.decoder}`", f"{row.rate:g}", row.epochs, search, *values, distinct]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.captioners", description=__doc__)
    parser.add_argument("--features", nargs="+", required=True, help="outputs of beamscribe featurize to learn from")
    parser.add_argument("--some-features", nargs="+", required=True, help="fewer of them, to choose the rate by")
    parser.add_argument("--validation", nargs="+", required=True, help="features of photographs to be captioned")
    parser.add_argument("--annotations", required=True, help="COCO captions of these")
    parser.add_argument("--work", type=Path, required=True, help="folder for bundles, captions and scores")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--some-epochs", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=2, help="captioners in training, which share the cores [2]")
    args = parser.parse_args()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(max(1, (os.cpu_count() or 1) // args.at_once))
    with ThreadPoolExecutor(args.at_once) as pool:
        print(table(list(pool.map(partial(measure, args=args), DECODERS))))


if __name__ == "__main__":
    main()
