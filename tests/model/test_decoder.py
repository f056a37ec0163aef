"""The decoder block: what holds whatever its weights. Its numbers are checked in test_captioner.py."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model.decoder import DecoderBlock
from model.masks import causal_mask

IMAGES, BEAMS, LENGTH, CELLS, WIDTH, HEADS = 2, 3, 4, 6, 8, 2
GENERATOR = np.random.default_rng(0)
WORDS = GENERATOR.normal(size=(IMAGES, LENGTH, WIDTH)).astype(np.float32)
IMAGE = GENERATOR.normal(size=(IMAGES, CELLS, WIDTH)).astype(np.float32)
MASK = tf.tile(causal_mask(LENGTH), (IMAGES, 1, 1))


def built(dropout: float = 0.0, pre_norm: bool = False) -> DecoderBlock:
    block = DecoderBlock(WIDTH, HEADS, feed_forward=12, dropout=dropout, pre_norm=pre_norm)
    block.build((None, None, WIDTH), (None, CELLS, WIDTH))
    return block


def test_cross_attention_weights_belong_to_the_words() -> None:
    words, weights = built()(WORDS, IMAGE, attention_mask=MASK)
    assert words.shape == WORDS.shape
    assert weights.shape == (IMAGES, HEADS, LENGTH, CELLS)
    np.testing.assert_allclose(tf.reduce_sum(weights, -1), np.ones(weights.shape[:3]), rtol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_step_leaves_later_places_of_the_cache_empty(pre_norm: bool) -> None:
    block = built(pre_norm=pre_norm)
    words = np.repeat(WORDS, BEAMS, axis=0)
    image, kept = block.start(tf.constant(IMAGE), BEAMS, length=5)
    assert kept.keys.shape == (IMAGES * BEAMS, HEADS, 5, WIDTH // HEADS)
    assert image.keys.shape == (IMAGES, HEADS, CELLS, WIDTH // HEADS)
    for position in range(2):
        _, kept = block.step(tf.constant(words[:, position : position + 1]), tf.constant(position), image, kept)
    before = block.norms[0](words[:, :2]) if pre_norm else words[:, :2]
    for found, full in zip(kept, block.self_attention.keys_values(before), strict=True):
        np.testing.assert_allclose(found[:, :, :2], full, atol=1e-6)
        np.testing.assert_array_equal(found[:, :, 2:], 0)


def test_dropout_works_in_training_alone() -> None:
    block = built(dropout=0.5)
    plain, _ = block(WORDS, IMAGE, attention_mask=MASK)
    np.testing.assert_array_equal(block(WORDS, IMAGE, attention_mask=MASK, training=False)[0], plain)
    assert np.abs(block(WORDS, IMAGE, attention_mask=MASK, training=True)[0] - plain).max() > 1e-2


def test_config_makes_the_block_again() -> None:
    block = built(dropout=0.25)
    again = DecoderBlock.from_config(json.loads(json.dumps(block.get_config())))
    assert again.get_config() == block.get_config()
    again.build((None, None, WIDTH), (None, CELLS, WIDTH))
    again.set_weights(block.get_weights())
    np.testing.assert_array_equal(
        again(WORDS, IMAGE, attention_mask=MASK)[0], block(WORDS, IMAGE, attention_mask=MASK)[0]
    )
