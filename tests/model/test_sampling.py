"""Samples: by their frequencies, and by what must never be drawn."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.decoder_names import DECODERS
from beamscribe.model.sampling import sample
from beamscribe.model.tokenizer import END, PAD, START, UNKNOWN

pytestmark = pytest.mark.slow

CONFIG = CaptionerConfig((2, 2, 6), 12, max_length=8, width=16, heads=2, feed_forward=24)
FEATURES = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)


def captioner(decoder: str, peak: float = 1.0) -> Captioner:
    made = Captioner(CONFIG._replace(decoder=decoder))
    made.build()
    generator = np.random.default_rng(1)
    for weight in made.trainable_variables:
        weight.assign(
            generator.normal(float(weight.path.endswith("gamma")), peak * weight.shape[0] ** -0.5, weight.shape)
        )
    return made


@pytest.mark.parametrize("decoder", DECODERS)
def test_rows_are_well_formed_and_seeds_decide(decoder: str) -> None:
    model = captioner(decoder)
    draw = tf.function(lambda seed: sample(model, tf.constant(FEATURES), 50, 7, seed))
    rows = draw(tf.constant([0, 0])).numpy()
    assert rows.shape == (2, 50, 7)
    np.testing.assert_array_equal(rows, draw(tf.constant([0, 0])))
    assert (rows != draw(tf.constant([0, 7])).numpy()).any()
    assert (rows != draw(tf.constant([1, 0])).numpy()).any()
    lengths = set()
    for row in rows.reshape(-1, 7).tolist():
        said = row[: row.index(END)] if END in row else row
        assert said
        assert not {PAD, START, UNKNOWN} & set(said)
        assert set(row[len(said) + 1 :]) <= {PAD}
        lengths.add(len(said))
    assert len(lengths) > 1


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_words_come_as_often_as_the_captioner_believes(decoder: str) -> None:
    model, samples = captioner(decoder, peak=2.0), 4000
    rows = sample(model, tf.constant(FEATURES), samples, 2, tf.constant([3, 5])).numpy()
    for image in range(2):
        logits = model((FEATURES[image : image + 1], np.array([[START]], np.int32))).numpy()[0, 0]
        logits[[PAD, START, UNKNOWN, END]] = -np.inf
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        counts = Counter(rows[image, :, 0].tolist())
        found = np.array([counts[token] for token in range(12)]) / samples
        np.testing.assert_allclose(found, expected, atol=0.04)

        # The second word, given the commonest first one.
        first = int(np.argmax(found))
        seconds = rows[image, rows[image, :, 0] == first, 1]
        logits = model((FEATURES[image : image + 1], np.array([[START, first]], np.int32))).numpy()[0, 1]
        logits[[PAD, START, UNKNOWN]] = -np.inf
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        found = np.bincount(seconds, minlength=12) / len(seconds)
        np.testing.assert_allclose(found, expected, atol=4 * 0.5 / len(seconds) ** 0.5)
