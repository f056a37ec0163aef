"""Which epoch is kept: by loss while CIDEr is noise, by CIDEr from then on."""

import math
from typing import Any

import pytest

from beamscribe.training.choice import CIDER, LOSS, NOISE, Kept, choose, means_something, why_it_stops

FREQUENCY = 5.0


def epochs(*rows: tuple[float, float, float]) -> list[dict[str, float]]:
    return [{LOSS: loss, CIDER: cider, NOISE: noise} for loss, cider, noise in rows]


@pytest.mark.parametrize(
    ("loss", "cider", "noise", "expected"),
    [
        (4.0, 0.5, 0.1, True),
        (4.9, 0.5, 0.1, False),  # hardly below word frequencies
        (7.1, 0.5, 0.1, False),
        (4.0, 0.1, 0.1, False),
        (4.0, 0.09, 0.1, False),
        (math.nan, 0.5, 0.1, False),
    ],
)
def test_when_cider_means_something(loss: float, cider: float, noise: float, expected: bool) -> None:
    assert means_something({LOSS: loss, CIDER: cider, NOISE: noise}, FREQUENCY) == expected


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        ([], Kept(None, LOSS)),
        # CIDEr of the first epoch is the highest by chance, the loss says otherwise.
        (epochs((7.1, 0.08, 0.2), (6.2, 0.05, 0.2), (5.5, 0.02, 0.2), (5.3, 0.03, 0.2)), Kept(4, LOSS)),
        (epochs((5.3, 0.0, 0.2), (5.1, 0.0, 0.2), (5.2, 0.1, 0.2)), Kept(2, LOSS)),
        # From the third on CIDEr is more than chance; the loss may rise then.
        (epochs((6.0, 0.9, 1.0), (5.0, 0.1, 0.2), (4.0, 0.3, 0.2), (4.5, 0.5, 0.2), (6.0, 0.4, 0.2)), Kept(4, CIDER)),
        (epochs((4.0, 0.5, 0.1), (3.9, 0.49, 0.1)), Kept(2, CIDER)),  # what may be chance: the later one
        (epochs((4.0, 0.5, 0.1), (3.9, 0.3, 0.1)), Kept(1, CIDER)),
        (epochs((math.nan, 0.5, 0.1), (math.inf, 0.5, 0.1)), Kept(None, LOSS)),
        (epochs((math.nan, 0.5, 0.1), (5.0, 0.0, 0.1), (math.nan, 0.9, 0.1)), Kept(2, LOSS)),
        ([{CIDER: 0.2}, {CIDER: 0.3}, {CIDER: 0.1}], Kept(2, CIDER)),  # the self-critical phase
    ],
)
def test_the_epoch_that_is_kept(history: list[dict[str, float]], kept: Kept) -> None:
    assert choose(history, FREQUENCY) == kept


def test_the_choice_never_goes_back_to_an_earlier_epoch() -> None:
    history = epochs((6.0, 0.1, 0.2), (5.0, 0.1, 0.2), (4.0, 0.3, 0.2), (4.1, 0.2, 0.2), (3.9, 0.295, 0.2))
    chosen = [choose(history[:count], FREQUENCY).epoch for count in range(1, 6)]
    # Only the weights of the epoch that has just ended can be kept.
    assert all(now in (before, epoch) for epoch, (before, now) in enumerate(zip(chosen, chosen[1:], strict=False), 2))


@pytest.mark.parametrize(
    ("kept", "done", "why"),
    [
        (Kept(4, LOSS), 4, None),
        (Kept(4, LOSS), 7, "the loss of held-out captions has not become better for 3 epochs"),
        (Kept(4, CIDER), 7, "CIDEr of held-out captions has not become better for 3 epochs"),
        (Kept(9, CIDER), 10, "all 10 epochs are done"),
        (Kept(None, LOSS), 3, "the loss is no number after 3 epochs"),
        (Kept(None, LOSS), 1, None),
    ],
)
def test_why_training_stops(kept: Kept, done: int, why: Any) -> None:
    assert why_it_stops(kept, done, asked=10, patience=3) == why
