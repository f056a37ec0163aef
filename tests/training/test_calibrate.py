"""Confidence from captions whose quality is known."""

import numpy as np
import pytest

from beamscribe.model.confidence import SIGNALS, untrained
from beamscribe.training.calibrate import Judged, fit, learn_signals, with_learned, words_of
from beamscribe.training.reliability import calibration_error

VOCABULARY, CHANNELS = 30, 5


def judged(count: int, seed: int) -> Judged:
    """Captions that are better the surer they are, the more the picture has of its first channel, and with token 7."""
    random = np.random.default_rng(seed)
    tokens = random.integers(4, VOCABULARY, (count, 6)).astype(np.int32)
    images = random.normal(size=(count, CHANNELS)).astype(np.float32)
    signals = random.normal(size=(count, len(SIGNALS))).astype(np.float32)
    sure = signals[:, SIGNALS.index("score")] + images[:, 0] + 2.0 * (tokens == 7).any(axis=1)
    cider = np.maximum(0, 0.5 + 0.4 * sure + random.normal(0, 0.3, count))
    return Judged(tokens, images, signals, cider)


def test_the_learned_signals_help_and_chances_come_true() -> None:
    calibration = learn_signals(untrained(VOCABULARY, CHANNELS), judged(2000, 0))
    assert np.argmax(calibration.words) == 7
    assert np.argmax(calibration.picture) == 0
    held_out = with_learned(judged(2000, 1), calibration)
    right = held_out.cider >= 0.5
    fitted, told, chances = fit(calibration, held_out, right)
    assert told["photographs"] == len(chances) == sum(count for _, _, count in told["tenths"])
    assert told["acceptable_share"] == pytest.approx(right.mean(), abs=1e-3)
    assert told["auroc"] > 0.85 > told["auroc_of_score"] + 0.05
    assert told["calibration_error"] < 0.05
    others = with_learned(judged(2000, 2), calibration)
    assert calibration_error(fitted.confidence(others.signals), others.cider >= 0.5) < 0.06


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words_of("A dog, running.") == words_of("a Dog running")
    assert words_of("A dog.") != words_of("A cat.")
