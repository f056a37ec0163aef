"""Attention: against the formula, against a case computed by hand, and against Keras' own layer."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.attention import KeysValues, MultiHeadAttention, scaled_dot_product

pytestmark = pytest.mark.slow

BATCH, HEADS, QUERIES, LENGTH, WIDTH = 2, 4, 3, 5, 16


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def built(width: int = WIDTH, heads: int = HEADS, dropout: float = 0.0) -> MultiHeadAttention:
    """A layer whose biases are not zero, so that a bias left out is seen."""
    layer = MultiHeadAttention(width, heads, dropout)
    layer.build((None, None, width))
    for i, weight in enumerate(layer.weights):
        weight.assign(0.4 * random(i, *weight.shape))
    return layer


def test_scaled_dot_product_by_hand() -> None:
    # q·k / √4 gives ln 3 and 0, so the weights are 3/4 and 1/4, and the mix 3/4·4 + 1/4·8 = 5.
    query = tf.constant([[[[2.0, 0, 0, 0]]]])
    keys = tf.constant([[[[float(np.log(3)), 9, 9, 9], [0, 9, 9, 9]]]])
    mixed, weights = scaled_dot_product(query, KeysValues(keys, tf.constant([[[[4.0], [8.0]]]])))
    np.testing.assert_allclose(weights, [[[[0.75, 0.25]]]], rtol=1e-6)
    np.testing.assert_allclose(mixed, [[[[5.0]]]], rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_scaled_dot_product_is_the_formula(masked: bool) -> None:
    query, keys, values = (random(i, BATCH, HEADS, n, 8) for i, n in enumerate((QUERIES, LENGTH, LENGTH)))
    mask = np.random.default_rng(3).random((BATCH, QUERIES, LENGTH)) < 0.6
    mask[:, :, 0] = True
    logits = np.einsum("bhqd,bhkd->bhqk", query, keys).astype(np.float64) / np.sqrt(8)
    if masked:
        logits[~np.broadcast_to(mask[:, None], logits.shape)] = -np.inf
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

    mixed, weights = scaled_dot_product(query, KeysValues(keys, values), tf.constant(mask) if masked else None)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(mixed, expected @ values, atol=1e-5)


def test_masked_keys_get_no_weight_at_all() -> None:
    keys = random(0, 1, 1, LENGTH, 8)
    keys[..., 2, :] = 1e3  # would win against everything
    mask = tf.constant([[[True, True, False, True, True]]])
    _, weights = scaled_dot_product(tf.ones((1, 1, QUERIES, 8)), KeysValues(keys, keys), mask)
    np.testing.assert_array_equal(weights[..., 2], np.zeros((1, 1, QUERIES)))
    np.testing.assert_allclose(tf.reduce_sum(weights, -1), np.ones((1, 1, QUERIES)), rtol=1e-6)


def test_in_sixteen_bits_the_softmax_is_still_float32() -> None:
    query = tf.constant([[[[200.0, 0]]]], tf.float16)
    keys = tf.constant([[[[200.0, 0], [199.0, 0], [0, 1]]]], tf.float16)
    mixed, weights = scaled_dot_product(query, KeysValues(keys, keys), tf.constant([[[True, True, False]]]))
    assert (mixed.dtype, weights.dtype) == (tf.float16, tf.float32)
    np.testing.assert_allclose(weights, [[[[1, 0, 0]]]], atol=1e-6)
    assert np.isfinite(mixed.numpy()).all()


@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
@pytest.mark.parametrize("masked", [False, True], ids=["open", "masked"])
def test_multi_head_attention_is_keras_own(cross: bool, masked: bool) -> None:
    args = built()
    theirs = keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
    query = random(10, BATCH, QUERIES, WIDTH)
    memory = random(11, BATCH, LENGTH, WIDTH) if cross else query
    theirs.build(query.shape, memory.shape, memory.shape)
    for weight, twin in zip(args.weights, theirs.weights, strict=True):
        twin.assign(np.reshape(weight.numpy(), twin.shape))
    mask = None
    if masked:
        mask = np.random.default_rng(12).random((BATCH, QUERIES, memory.shape[1])) < 0.5
        mask[:, :, 1] = True

    expected, expected_weights = theirs(query, memory, attention_mask=mask, return_attention_scores=True)
    tensor = None if mask is None else tf.constant(mask)
    np.testing.assert_allclose(args(query, memory if cross else None, attention_mask=tensor), expected, atol=1e-5)
    attended, weights = args.attend(query, args.keys_values(memory), tensor)
    np.testing.assert_allclose(attended, expected, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-6)


def test_config_makes_the_layer_again() -> None:
    layer = built(dropout=0.3)
    again = MultiHeadAttention.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    again.build((None, None, WIDTH))
    again.set_weights(layer.get_weights())
    query = random(1, BATCH, QUERIES, WIDTH)
    np.testing.assert_array_equal(again(query), layer(query))
    assert again.dropout.rate == 0.3


def test_dropout_works_in_training_alone() -> None:
    layer, query = built(dropout=0.5), random(1, BATCH, QUERIES, WIDTH)
    plain = layer(query, training=False).numpy()
    np.testing.assert_array_equal(layer(query).numpy(), plain)
    dropped = layer(query, training=True).numpy()
    kept = dropped != 0
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(dropped[kept], 2 * plain[kept], rtol=1e-5)


@pytest.mark.parametrize(("width", "heads"), [(10, 3), (4, 8)])
def test_heads_divide_the_width(width: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"{heads} heads do not divide the width {width}"):
        MultiHeadAttention(width, heads)
