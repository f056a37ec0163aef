"""The captioner: against the same Transformer in NumPy, and the laws that training and decoding rely on."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model import weights
from model.captioner import Captioner, CaptionerConfig
from model.tokenizer import PAD

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
)
FEATURES = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
TOKENS = np.array(
    [
        [[2, 5, 6, 7, 8, 3, 0, 0], [2, 9, 3, 0, 0, 0, 0, 0], [2, 4, 4, 4, 29, 28, 27, 3]],
        [[2, 11, 0, 12, 13, 3, 0, 0], [2, 14, 15, 16, 17, 18, 19, 20], [2, 21, 22, 23, 3, 0, 0, 0]],
    ],
    np.int32,
)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    """Random weights with biases and scales too, so that none of them can be forgotten unseen."""
    captioner = Captioner(CONFIG)
    captioner.build()
    generator = np.random.default_rng(1)
    for weight in captioner.weights:
        weight.assign(weight + 0.1 * generator.normal(size=weight.shape))
    return captioner


def in_numpy(arrays: dict[str, np.ndarray], features: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Logits (length, vocabulary) of one caption of one image, in float64 and straight from the papers."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        return x * arrays[f"{name}/gamma"] + arrays[f"{name}/beta"]

    def attention(x: np.ndarray, memory: np.ndarray, name: str, hidden: np.ndarray | float = 0.0) -> np.ndarray:
        heads = []
        queries, keys, values = (
            np.split(dense(source, f"{name}/{part}"), CONFIG.heads, axis=-1)
            for source, part in ((x, "query"), (memory, "key"), (memory, "value"))
        )
        for query, key, value in zip(queries, keys, values, strict=True):
            logits = np.exp(query @ key.T / np.sqrt(CONFIG.width / CONFIG.heads) + hidden)
            heads.append(logits / logits.sum(-1, keepdims=True) @ value)
        return dense(np.concatenate(heads, -1), f"{name}/output")

    image = (features.astype(np.float64) - arrays["standardize/mean"]) / arrays["standardize/deviation"]
    for i in range(CONFIG.encoder_blocks):
        image = np.maximum(dense(norm(image, f"encoder_{i}/norm_in"), f"encoder_{i}/projection"), 0)
        image = norm(image + attention(image, image, f"encoder_{i}/self_attention"), f"encoder_{i}/norm_out")
    positions = np.arange(len(tokens))
    words = arrays["embedding/tokens/embeddings"][tokens] * np.sqrt(CONFIG.width)
    words = words + arrays["embedding/positions/embeddings"][positions]
    hidden = np.where((positions[:, None] < positions) | (tokens == PAD), -np.inf, 0.0)
    for i in range(CONFIG.decoder_blocks):
        block = f"decoder_{i}"
        words = norm(words + attention(words, words, f"{block}/self_attention", hidden), f"{block}/norm_0")
        words = norm(words + attention(words, image, f"{block}/cross_attention"), f"{block}/norm_1")
        thought = dense(np.maximum(dense(words, f"{block}/dense_in"), 0), f"{block}/dense_out")
        words = norm(words + thought, f"{block}/norm_2")
    return dense(words, "logits")


def arrays_of(captioner: Captioner) -> dict[str, np.ndarray]:
    return {weight.path.split("/", 1)[1]: weight.numpy().astype(np.float64) for weight in captioner.weights}


def test_logits_are_those_of_the_transformer_in_numpy(captioner: Captioner) -> None:
    logits = captioner((FEATURES, TOKENS)).numpy()
    assert logits.shape == (2, 3, 8, 30)
    assert logits.dtype == np.float32
    arrays = arrays_of(captioner)
    expected = [[in_numpy(arrays, FEATURES[i], TOKENS[i, k]) for k in range(3)] for i in range(2)]
    np.testing.assert_allclose(logits, expected, atol=2e-4)


@pytest.mark.parametrize("position", range(8))
def test_a_later_word_never_changes_an_earlier_logit(captioner: Captioner, position: int) -> None:
    changed = TOKENS.copy()
    changed[:, :, position] = 25
    before, after = captioner((FEATURES, TOKENS)).numpy(), captioner((FEATURES, changed)).numpy()
    np.testing.assert_allclose(after[:, :, :position], before[:, :, :position], atol=1e-5)
    assert (np.abs(after - before)[:, :, position].max(-1) > 1e-2).all()


def test_padding_is_never_looked_at(captioner: Captioner) -> None:
    before = captioner((FEATURES, TOKENS)).numpy()
    other = Captioner(CONFIG)
    other.build()
    other.set_weights(captioner.get_weights())
    table = other.embedding.tokens.embeddings
    table.assign(tf.tensor_scatter_nd_update(table, [[PAD]], [10 * np.ones(CONFIG.width, np.float32)]))
    after = other((FEATURES, TOKENS)).numpy()
    words = TOKENS != PAD
    np.testing.assert_allclose(after[words], before[words], atol=1e-5)  # one caption has padding inside as well
    assert np.abs(after - before)[~words].max() > 1e-2  # so the new vector was in use


def test_more_padding_changes_nothing(captioner: Captioner) -> None:
    longer = np.pad(TOKENS, ((0, 0), (0, 0), (0, 2)))
    np.testing.assert_allclose(
        captioner((FEATURES, longer)).numpy()[:, :, :8], captioner((FEATURES, TOKENS)), atol=1e-5
    )


def test_captions_side_by_side_are_captions_one_by_one(captioner: Captioner) -> None:
    together = captioner((FEATURES, TOKENS)).numpy()
    for i in range(2):
        for k in range(3):
            alone = captioner((FEATURES[i : i + 1], TOKENS[i : i + 1, k : k + 1])).numpy()
            np.testing.assert_allclose(together[i, k], alone[0, 0], atol=1e-5)


def test_step_by_step_is_all_at_once(captioner: Captioner) -> None:
    full = captioner((FEATURES, np.where(TOKENS == PAD, 5, TOKENS))).numpy()
    tokens = np.where(TOKENS == PAD, 5, TOKENS).reshape(6, 8)
    states = captioner.start(captioner.encode(FEATURES), beams=3, length=9)
    assert len(states) == CONFIG.decoder_blocks
    for position in range(8):
        logits, words = captioner.step(tf.constant(tokens[:, position]), tf.constant(position), states)
        states = [state._replace(words=kept) for state, kept in zip(states, words, strict=True)]
        np.testing.assert_allclose(logits, full.reshape(6, 8, 30)[:, position], atol=1e-4)


def test_dropout_works_in_training_alone(captioner: Captioner) -> None:
    plain = captioner((FEATURES, TOKENS))
    np.testing.assert_array_equal(captioner((FEATURES, TOKENS), training=False), plain)
    assert np.abs(captioner((FEATURES, TOKENS), training=True) - plain).max() > 1e-2


def test_config_goes_through_json(captioner: Captioner) -> None:
    again = Captioner.from_config(json.loads(json.dumps(captioner.get_config())))
    assert again.config == CONFIG
    again.build()
    again.set_weights(captioner.get_weights())
    np.testing.assert_array_equal(again((FEATURES, TOKENS)), captioner((FEATURES, TOKENS)))


@pytest.mark.parametrize("how", ["build", "call"])
def test_variables_are_named_alike_however_the_model_was_built(captioner: Captioner, how: str) -> None:
    other = Captioner(CONFIG)
    if how == "build":
        other.build()
    else:
        other((FEATURES, TOKENS))
    names = list(arrays_of(captioner))
    assert list(arrays_of(other)) == names
    assert len(names) == len(captioner.weights)  # no two alike
    weights.assign(other, arrays_of(captioner))
    np.testing.assert_allclose(other((FEATURES, TOKENS)), captioner((FEATURES, TOKENS)), atol=1e-5)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide the width 32"):
        Captioner(CONFIG._replace(heads=5))


def test_sizes_are_those_of_the_config() -> None:
    config = CONFIG._replace(encoder_blocks=1, decoder_blocks=3)
    captioner = Captioner(config)
    captioner.build()
    shapes = {name: array.shape for name, array in arrays_of(captioner).items()}
    assert shapes["encoder_0/projection/kernel"] == (7, 32)
    assert shapes["decoder_2/dense_in/kernel"] == (32, 48)
    assert shapes["embedding/positions/embeddings"] == (10, 32)
    assert shapes["logits/kernel"] == (32, 30)
    assert "encoder_1/projection/kernel" not in shapes
