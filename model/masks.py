"""Attention masks, as pure functions. True means: may be attended to."""

import tensorflow as tf


def causal_mask(length: int | tf.Tensor) -> tf.Tensor:
    """Each position sees itself and what came before.

    Returns:
        bool (1, length, length), [1, query, key].
    """
    positions = tf.range(length)
    return (positions[:, None] >= positions[None, :])[None]


def padding_mask(tokens: tf.Tensor, pad: int) -> tf.Tensor:
    """No position sees padding.

    Args:
        tokens: int (batch, length).
        pad: the padding token.

    Returns:
        bool (batch, 1, length), [batch, any query, key].
    """
    return (tokens != pad)[:, None, :]


def packed_mask(tokens: tf.Tensor, start: int, pad: int) -> tf.Tensor:
    """Several captions in one row: each word sees its own caption's words up to itself, and no padding.

    Args:
        tokens: int (batch, length), captions one after another, each from its start token on.
        start: the start token.
        pad: the padding token.

    Returns:
        bool (batch, length, length).
    """
    caption = tf.cumsum(tf.cast(tokens == start, tf.int32), axis=1)
    same_caption = caption[:, :, None] == caption[:, None, :]
    return causal_mask(tf.shape(tokens)[1]) & same_caption & padding_mask(tokens, pad)


def positions_in_captions(mask: tf.Tensor) -> tf.Tensor:
    """Positions that begin anew with each caption; padding repeats the last one.

    Args:
        mask: of `packed_mask`, bool (batch, length, length).

    Returns:
        int (batch, length), from 0.
    """
    return tf.maximum(tf.reduce_sum(tf.cast(mask, tf.int32), axis=-1) - 1, 0)
