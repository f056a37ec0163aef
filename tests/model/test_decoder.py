"""The decoder block: what holds whatever its weights. Its numbers are checked in test_captioner.py."""

import json

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.attention import KeysValues
from beamscribe.model.decoder import DecoderBlock
from beamscribe.model.masks import causal_mask

pytestmark = pytest.mark.slow

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
def test_a_step_adds_one_position_of_every_beam_to_the_cache(pre_norm: bool) -> None:
    block = built(pre_norm=pre_norm)
    image, kept = block.start(tf.constant(IMAGE))
    assert kept.keys.shape == (IMAGES, HEADS, 0, WIDTH // HEADS)
    assert image.keys.shape == (IMAGES, HEADS, CELLS, WIDTH // HEADS)
    for position in range(2):
        beside = np.repeat(WORDS[:, position : position + 1], BEAMS, axis=1)
        own = np.tile(np.eye(BEAMS, dtype=bool), (IMAGES, 1, position + 1))
        _, kept = block.step(tf.constant(beside), tf.constant(own), image, kept)
    words = np.repeat(WORDS[:, :2], BEAMS, axis=1)
    for found, full in zip(kept, block.self_attention.keys_values(block._before(0, words)), strict=True):
        np.testing.assert_allclose(found, full, atol=1e-6)


def test_a_beam_sees_its_own_words_alone() -> None:
    block = built()
    image, kept = block.start(tf.constant(IMAGE))
    kept = KeysValues(*(tf.random.normal((IMAGES, HEADS, BEAMS, WIDTH // HEADS), seed=n) for n in range(2)))
    beside = tf.constant(np.repeat(WORDS[:, :1], BEAMS, axis=1))
    own = np.tile(np.eye(BEAMS, dtype=bool), (IMAGES, 1, 2))
    mine, _ = block.step(beside, tf.constant(own), image, kept)
    assert np.abs(mine[:, 0] - mine[:, 1]).max() > 1e-3
    own[:, 0, :BEAMS] = own[:, 1, :BEAMS]
    swapped, _ = block.step(beside, tf.constant(own), image, kept)
    np.testing.assert_allclose(swapped[:, 0], mine[:, 1], atol=1e-5)
    np.testing.assert_allclose(swapped[:, 1], mine[:, 1], atol=1e-5)


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
