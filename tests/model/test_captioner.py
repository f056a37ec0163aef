"""The captioners: against the same in NumPy, and the laws that training and decoding rely on."""

import json

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.decoder_names import BASIC, DECODERS, LSTM, TRANSFORMER
from beamscribe.model.tokenizer import PAD, START
from tests.model.numpy_captioner import logits as in_numpy

pytestmark = pytest.mark.slow

CONFIG = CaptionerConfig(
    grid=(2, 3, 7),
    vocabulary_size=30,
    max_length=10,
    width=32,
    heads=4,
    feed_forward=48,
    encoder_blocks=2,
    decoder_blocks=2,
    dropout=0.3,
    visual_dropout=0.2,
)
FEATURES = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
CAPTIONS = [
    [[2, 5, 6, 7, 8], [2, 9], [2, 4, 4, 4, 29, 28, 27]],
    [[2, 11, 12, 13], [2, 14, 15, 16, 17, 18, 19, 20]],
]
TOKENS = np.array([sum(row, []) + [PAD] * (16 - len(sum(row, []))) for row in CAPTIONS], np.int32)
SECOND = [(5, 7), (4, 12)]
"""Where the second caption of each row is."""


@pytest.fixture(scope="module", params=DECODERS)
def captioner(request: pytest.FixtureRequest) -> Captioner:
    """Random weights with biases and scales too, so that none of them can be forgotten unseen."""
    captioner = Captioner(CONFIG._replace(decoder=request.param))
    captioner.build()
    generator = np.random.default_rng(1)
    for weight in captioner.weights:
        weight.assign(weight + 0.1 * generator.normal(size=weight.shape))
    return captioner


def arrays_of(captioner: Captioner) -> dict[str, np.ndarray]:
    return {weight.path.split("/", 1)[1]: weight.numpy().astype(np.float64) for weight in captioner.weights}


def test_logits_are_those_of_numpy(captioner: Captioner) -> None:
    logits = captioner((FEATURES, TOKENS)).numpy()
    assert logits.shape == (2, 16, 30)
    assert logits.dtype == np.float32
    arrays = arrays_of(captioner)
    for image, captions in enumerate(CAPTIONS):
        expected = [in_numpy(captioner.config, arrays, FEATURES[image], np.array(caption)) for caption in captions]
        words = TOKENS[image] != PAD
        np.testing.assert_allclose(logits[image][words], np.concatenate(expected), atol=2e-4)


@pytest.mark.parametrize("position", range(1, 14))
def test_a_word_changes_neither_earlier_logits_nor_another_caption(captioner: Captioner, position: int) -> None:
    changed = TOKENS.copy()
    words = (TOKENS[:, position] != PAD) & (TOKENS[:, position] != START)
    changed[words, position] = 25
    before, after = captioner((FEATURES, TOKENS)).numpy(), captioner((FEATURES, changed)).numpy()
    caption = np.cumsum(TOKENS == START, axis=1)
    for row in np.flatnonzero(words):
        mine = (caption[row] == caption[row, position]) & (np.arange(16) >= position)
        untouched = ~mine & (TOKENS[row] != PAD)
        np.testing.assert_allclose(after[row][untouched], before[row][untouched], atol=1e-5)
        assert np.abs(after[row] - before[row])[position].max() > 1e-2


def test_padding_is_never_looked_at(captioner: Captioner) -> None:
    longer = np.pad(TOKENS, ((0, 0), (0, 5)))
    words = TOKENS != PAD
    together = captioner((FEATURES, longer)).numpy()[:, :16]
    np.testing.assert_allclose(together[words], captioner((FEATURES, TOKENS)).numpy()[words], atol=1e-5)


def test_step_by_step_is_all_at_once(captioner: Captioner) -> None:
    tokens = np.random.default_rng(2).integers(4, 30, (6, 8)).astype(np.int32)
    tokens[:, 0] = START
    full = captioner((np.repeat(FEATURES, 3, axis=0), tokens)).numpy()
    cache = captioner.start(captioner.encode(FEATURES), beams=3)
    for position in range(8):
        logits, words = captioner.step(tf.constant(tokens[:, position]), tf.constant(position), cache)
        cache = cache._replace(words=words)
        np.testing.assert_allclose(logits, full[:, position], atol=1e-4)


def test_attention_says_where_each_word_looked(captioner: Captioner) -> None:
    _, seen = captioner.decode(tf.constant(TOKENS), captioner.encode(FEATURES))
    if captioner.config.decoder == LSTM:
        assert seen is None
        return
    heads = CONFIG.heads if captioner.config.decoder in (BASIC, TRANSFORMER) else 1
    assert seen.shape == (2, heads, 16, 6)
    np.testing.assert_allclose(tf.reduce_sum(seen, -1), np.ones((2, heads, 16)), rtol=1e-5)


def test_dropout_works_in_training_alone(captioner: Captioner) -> None:
    plain = captioner((FEATURES, TOKENS))
    np.testing.assert_array_equal(captioner((FEATURES, TOKENS), training=False), plain)
    assert np.abs(captioner((FEATURES, TOKENS), training=True) - plain).max() > 1e-2


def test_every_weight_is_trained(captioner: Captioner) -> None:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(captioner((FEATURES, TOKENS), training=True) ** 2)
    gradients = tape.gradient(loss, [variable.value for variable in captioner.trainable_variables])
    assert all(gradient is not None for gradient in gradients)


def test_config_goes_through_json(captioner: Captioner) -> None:
    again = Captioner.from_config(json.loads(json.dumps(captioner.get_config())))
    assert again.config == captioner.config
    again.build()
    again.set_weights(captioner.get_weights())
    np.testing.assert_array_equal(again((FEATURES, TOKENS)), captioner((FEATURES, TOKENS)))


@pytest.mark.parametrize("how", ["build", "call"])
def test_variables_are_named_alike_however_the_model_was_built(captioner: Captioner, how: str) -> None:
    other = Captioner(captioner.config)
    if how == "build":
        other.build()
    else:
        other((FEATURES, TOKENS))
    names = list(arrays_of(captioner))
    assert list(arrays_of(other)) == names
    assert len(names) == len(captioner.weights)  # no two alike
    weights.assign(other, arrays_of(captioner))
    np.testing.assert_allclose(other((FEATURES, TOKENS)), captioner((FEATURES, TOKENS)), atol=1e-5)


def test_adapting_standardises_what_ours_sees(captioner: Captioner) -> None:
    other = Captioner(captioner.config)
    other.build()
    other.set_weights(captioner.get_weights())
    other.adapt(FEATURES * 3 + 1)
    changed = [
        name for name, array in arrays_of(other).items() if not np.array_equal(array, arrays_of(captioner)[name])
    ]
    args = captioner.config.decoder == TRANSFORMER
    assert changed == (["encoder/standardize/mean", "encoder/standardize/deviation"] if args else [])


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide the width 32"):
        Captioner(CONFIG._replace(heads=5))


def test_sizes_are_those_of_the_config() -> None:
    captioner = Captioner(CONFIG._replace(decoder=BASIC, encoder_blocks=1, decoder_blocks=3))
    captioner.build()
    shapes = {name: array.shape for name, array in arrays_of(captioner).items()}
    assert shapes["encoder/projection_0/kernel"] == (7, 32)
    assert shapes["decoder/block_2/dense_in/kernel"] == (32, 48)
    assert shapes["decoder/embedding/positions/embeddings"] == (10, 32)
    assert shapes["decoder/logits/kernel"] == (32, 30)
    assert "encoder/projection_1/kernel" not in shapes
