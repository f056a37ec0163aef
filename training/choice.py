"""Which epoch is kept, and when training stops: by the loss of held-out captions until CIDEr means something."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from beamscribe.schemas.counted import counted

LOSS, CIDER = "val_token_loss", "val_cider"
NOISE = "val_cider_noise"
"""What CIDEr must exceed: what the same captions score for images that they are not of, with the uncertainty."""

CLEARLY = 0.95
"""Share of the loss of word frequencies below which a captioner has learned more than these."""

CHANCE = 0.03
"""Share by which the score of a few hundred images may fall although captions of others have become better.

Measured: of 301 images two epochs had CIDEr 0.592 and 0.591, of 1,000 others 0.547 and 0.584. Since the learning rate
falls to zero the later epoch is the better one unless its score says clearly otherwise.
"""


class Kept(NamedTuple):
    """The epoch whose weights are kept.

    Attributes:
        epoch: from 1; None if no epoch had finite numbers.
        by: `LOSS` or `CIDER`, which chose it.
    """

    epoch: int | None
    by: str


def is_better(score: float, than: float) -> bool:
    """Whether later weights with this CIDEr are to be preferred."""
    return score >= (1 - CHANCE) * than


def means_something(logs: Mapping[str, float], frequency_loss: float) -> bool:
    """Whether the CIDEr of an epoch tells good captions from bad ones.

    Args:
        logs: of the epoch; without `LOSS`, as in the self-critical phase, CIDEr is all there is.
        frequency_loss: of the held-out captions, each token predicted by its frequency; in nats a token.
    """
    if LOSS not in logs:
        return True
    return logs[LOSS] < CLEARLY * frequency_loss and logs[CIDER] > logs.get(NOISE, math.inf)


def choose(history: Sequence[Mapping[str, float]], frequency_loss: float) -> Kept:
    """The best epoch so far: the lowest loss, or from the first epoch on whose CIDEr means something, the best CIDEr.

    The loss of people's captions begins to rise while a captioner's own still become better, so once CIDEr means
    something the loss decides nothing any more.

    Args:
        history: what was measured after each epoch.
        frequency_loss: as `means_something` takes it.
    """
    best: int | None = None
    by, value = LOSS, math.inf
    for epoch, logs in enumerate(history, 1):
        # A loss that is no number leaves weights that are none either, whatever the score says.
        if not all(map(math.isfinite, (value for name, value in logs.items() if name != NOISE))):
            continue
        if by == LOSS and means_something(logs, frequency_loss):
            best, by, value = epoch, CIDER, logs[CIDER]
        elif by == CIDER and is_better(logs[CIDER], value):
            best, value = epoch, max(value, logs[CIDER])
        elif by == LOSS and logs[LOSS] < value:
            best, value = epoch, logs[LOSS]
    return Kept(best, by)


def why_it_stops(kept: Kept, epochs: int, asked: int, patience: int) -> str | None:
    """Why no further epoch follows, for people; None if one does.

    Args:
        kept: so far.
        epochs: that are done.
        asked: epochs in all.
        patience: epochs without a better one.
    """
    if kept.epoch is None and epochs >= patience:
        return f"the loss is no number after {counted(epochs, 'epoch')}"
    if epochs - (kept.epoch or 0) >= patience:
        what = "CIDEr of held-out captions has" if kept.by == CIDER else "the loss of held-out captions has"
        return f"{what} not become better for {counted(patience, 'epoch')}"
    return f"{'all ' if asked > 1 else ''}{counted(asked, 'epoch is', 'epochs are')} done" if epochs >= asked else None
