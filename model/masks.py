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


def decoder_mask(tokens: tf.Tensor, pad: int) -> tf.Tensor:
    """Causal and padding mask together.

    Args:
        tokens: int (batch, length).
        pad: the padding token.

    Returns:
        bool (batch, length, length).
    """
    return causal_mask(tf.shape(tokens)[1]) & padding_mask(tokens, pad)
