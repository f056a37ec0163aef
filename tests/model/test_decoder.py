"""The decoder block: what holds whatever its weights. Its numbers are checked in test_captioner.py."""

import json

import numpy as np
import tensorflow as tf

from model.decoder import DecoderBlock
from model.masks import causal_mask

IMAGES, CAPTIONS, LENGTH, CELLS, WIDTH, HEADS = 2, 3, 4, 6, 8, 2
GENERATOR = np.random.default_rng(0)
WORDS = GENERATOR.normal(size=(IMAGES * CAPTIONS, LENGTH, WIDTH)).astype(np.float32)
IMAGE = GENERATOR.normal(size=(IMAGES, CELLS, WIDTH)).astype(np.float32)
MASK = tf.tile(causal_mask(LENGTH), (IMAGES * CAPTIONS, 1, 1))


def built(dropout: float = 0.0) -> DecoderBlock:
    block = DecoderBlock(WIDTH, HEADS, feed_forward=12, dropout=dropout)
    block.build((None, None, WIDTH), (None, CELLS, WIDTH))
    return block


def test_cross_attention_weights_belong_to_the_words_side_by_side() -> None:
    block = built()
    words, weights = block(WORDS, IMAGE, attention_mask=MASK)
    assert words.shape == WORDS.shape
    assert weights.shape == (IMAGES, HEADS, CAPTIONS * LENGTH, CELLS)
    np.testing.assert_allclose(tf.reduce_sum(weights, -1), np.ones(weights.shape[:3]), rtol=1e-5)
    _, alone = block(WORDS[4:5], IMAGE[1:], attention_mask=MASK[:1])  # the second caption of the second image
    np.testing.assert_allclose(weights[1, :, LENGTH : 2 * LENGTH], alone[0], atol=1e-6)


def test_a_step_leaves_later_places_of_the_cache_empty() -> None:
    block = built()
    state = block.start(tf.constant(IMAGE), CAPTIONS, length=5)
    assert state.words.keys.shape == (IMAGES * CAPTIONS, HEADS, 5, WIDTH // HEADS)
    assert state.image.keys.shape == (IMAGES, HEADS, CELLS, WIDTH // HEADS)
    for position in range(2):
        _, words = block.step(tf.constant(WORDS[:, position : position + 1]), tf.constant(position), state)
        state = state._replace(words=words)
    expected = block.self_attention.keys_values(WORDS[:, :2])
    for kept, full in zip(state.words, expected, strict=True):
        np.testing.assert_allclose(kept[:, :, :2], full, atol=1e-6)
        np.testing.assert_array_equal(kept[:, :, 2:], 0)


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
