"""Confidence from captions whose quality is known."""

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.confidence import SIGNALS, described, untrained
from beamscribe.model.tokenizer import RESERVED, Tokenizer
from beamscribe.training.calibrate import Judged, fit, words_of
from beamscribe.training.dataset import FeatureSet
from beamscribe.training.reliability import calibration_error
from beamscribe.training.token_predictor import PHOTOGRAPHS, learn_tokens

pytestmark = pytest.mark.slow

THINGS = ("dog", "cat", "ball", "tree")
VOCABULARY = (*RESERVED, *"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"))
TOKENIZER = Tokenizer([*VOCABULARY, *THINGS, "ocean"])


def judged(count: int, seed: int) -> Judged:
    """Captions that are better the surer they are, and the more of them the features predict."""
    random = np.random.default_rng(seed)
    signals = random.normal(size=(count, len(SIGNALS))).astype(np.float32)
    sure = signals[:, SIGNALS.index("score")] + 2.0 * signals[:, SIGNALS.index("agreement")]
    cider = np.maximum(0, 0.5 + 0.4 * sure + random.normal(0, 0.3, count))
    return Judged(signals, cider)


def test_all_signals_help_and_chances_come_true() -> None:
    held_out = judged(2000, 1)
    right = held_out.cider >= 0.5
    fitted, told, chances = fit(untrained(3), held_out, right)
    assert told["photographs"] == len(chances) == sum(count for _, _, count in told["tenths"])
    assert told["acceptable_share"] == pytest.approx(right.mean(), abs=1e-3)
    assert told["auroc"] > 0.85 > told["auroc_of_score"] + 0.05
    assert told["calibration_error"] < 0.05
    others = judged(2000, 2)
    assert calibration_error(fitted.confidence(others.signals), others.cider >= 0.5) < 0.06


def photographs(count: int) -> FeatureSet:
    """Each shows one thing, which its channel and the first of two captions say; the ocean is in one alone."""
    random = np.random.default_rng(0)
    shown = random.integers(0, len(THINGS), count)
    features = random.normal(0, 0.1, (count, 4, len(THINGS) + 1))
    features[np.arange(count), 0, shown] += 3.0
    captions = [(f"A {THINGS[thing]}.", "A thing") for thing in shown]
    captions[0] = ("The ocean", "A thing")
    names = tuple(str(number) for number in range(count))
    zeros = np.zeros(count, int)
    return FeatureSet(
        ids=names,
        uris=names,
        file_names=names,
        views=zeros,
        features=features.astype(np.float16),
        places=np.arange(count),
        captions=tuple(captions),
        grid=(2, 2, len(THINGS) + 1),
        backbone="made",
        weights="made",
        weights_digest="0",
        without_captions=0,
        sources=zeros,
    )


def test_features_predict_the_tokens_that_people_use() -> None:
    features = photographs(800)
    found = learn_tokens(untrained(len(THINGS) + 1), features, TOKENIZER)
    known = [TOKENIZER.vocabulary[token] for token in found.tokens]
    assert set(THINGS) < set(known)
    assert "ocean" not in known
    inputs, components = described(found, tf.constant(features.features))
    predicted = inputs.numpy() @ (found.slopes.astype(np.float32) * found.scales) + found.offsets
    # Each photograph is the one that is most like itself.
    assert np.abs(components.numpy() - found.photographs).max() < 2e-3
    places = [known.index(thing) for thing in THINGS]
    shown = [THINGS.index(texts[0][2:-1]) for texts in features.captions[1:]]
    assert (predicted[1:, places].argmax(axis=1) == shown).mean() > 0.95
    # The mean over two captions of a unit vector: what one of them alone says weighs half at most.
    assert predicted[:, places].max() < 0.75
    assert found.rarity[known.index("dog")] == pytest.approx(np.log(4), abs=0.2)


def test_few_photographs_predict_nothing() -> None:
    blank = untrained(len(THINGS) + 1)
    assert learn_tokens(blank, photographs(PHOTOGRAPHS - 1), TOKENIZER) is blank


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words_of("A dog, running.") == words_of("a Dog running")
    assert words_of("A dog.") != words_of("A cat.")
