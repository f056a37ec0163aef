"""Additive attention, scaled dot-product attention, and several heads of the latter side by side."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

_FAR_BELOW = -1e9
"""Added to the logits of masked keys: e^-1e9 is zero in every precision used here, and unlike -inf never gives NaN."""


class KeysValues(NamedTuple):
    """What is attended to: both (batch, heads, length, width of a head), or (batch, length, width) without heads."""

    keys: tf.Tensor
    values: tf.Tensor


def scaled_dot_product(
    query: tf.Tensor, memory: KeysValues, attention_mask: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """softmax(QKᵀ / √d) V (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        query: (batch, heads, queries, d).
        memory: keys and values of (batch, heads, length, d).
        attention_mask: bool, broadcastable to (batch, queries, length); True may be attended to.

    Returns:
        The mix of values (batch, heads, queries, d), and the weights (batch, heads, queries, length), float32.
    """
    depth = query.shape[-1]
    assert depth is not None
    logits = tf.matmul(query, memory.keys, transpose_b=True) * tf.cast(depth, query.dtype) ** -0.5
    logits = tf.cast(logits, tf.float32)
    if attention_mask is not None:
        logits += tf.where(attention_mask, 0.0, _FAR_BELOW)[:, None]
    weights = tf.nn.softmax(logits)
    return tf.matmul(tf.cast(weights, query.dtype), memory.values), weights


class MultiHeadAttention(keras.layers.Layer):
    """Several heads, with keys and values that can be computed once and kept.

    Args:
        width: of input and output; each head works on width / heads.
        heads: number of heads, must divide `width`.
        dropout: rate on the attention's output.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"{heads} heads do not divide the width {width}")
        self.width, self.heads, self.rate = width, heads, dropout
        self.query = keras.layers.Dense(width, name="query")
        self.key = keras.layers.Dense(width, name="key")
        self.value = keras.layers.Dense(width, name="value")
        self.output_projection = keras.layers.Dense(width, name="output")
        self.dropout = keras.layers.Dropout(dropout)

    # Keras wants the shapes of several inputs named after what `call` takes.
    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...] | None = None
    ) -> None:
        """Builds the four projections."""
        memory_shape = memory_shape or query_shape
        self.query.build(query_shape)
        self.key.build(memory_shape)
        self.value.build(memory_shape)
        self.output_projection.build((*query_shape[:-1], self.width))
        self.dropout.build(query_shape)

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        batch, length = tf.shape(x)[0], tf.shape(x)[1]
        return tf.transpose(tf.reshape(x, (batch, length, self.heads, self.width // self.heads)), (0, 2, 1, 3))

    def keys_values(self, memory: tf.Tensor) -> KeysValues:
        """Keys and values of a sequence (batch, length, width)."""
        return KeysValues(self._split(self.key(memory)), self._split(self.value(memory)))

    def attend(
        self,
        query: tf.Tensor,
        memory: KeysValues,
        attention_mask: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Attention over keys and values that are there already.

        Args:
            query: (batch, queries, width).
            memory: keys and values.
            attention_mask: see `scaled_dot_product`.
            training: whether dropout applies.

        Returns:
            (batch, queries, width), and the weights (batch, heads, queries, length).
        """
        mixed, weights = scaled_dot_product(self._split(self.query(query)), memory, attention_mask)
        batch, queries = tf.shape(query)[0], tf.shape(query)[1]
        joined = tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (batch, queries, self.width))
        return self.dropout(self.output_projection(joined), training=training), weights

    def call(
        self,
        query: tf.Tensor,
        memory: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """Cross-attention on `memory`, or self-attention without one."""
        return self.attend(query, self.keys_values(query if memory is None else memory), attention_mask, training)[0]


class AdditiveAttention(keras.layers.Layer):
    """softmax(vᵀ tanh(Wq + Uk)) V (Bahdanau et al. 2015, arXiv:1409.0473).

    Args:
        width: between query and score.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query = keras.layers.Dense(width, use_bias=False, name="query")
        self.key = keras.layers.Dense(width, name="key")
        self.score = keras.layers.Dense(1, use_bias=False, name="score")
        self.width = width

    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]
    ) -> None:
        """Builds the three projections."""
        self.query.build(query_shape)
        self.key.build(memory_shape)
        self.score.build((None, self.width))

    def keys_values(self, memory: tf.Tensor) -> KeysValues:
        """Keys and values of (batch, length, channels): the values are the memory itself."""
        return KeysValues(self.key(memory), memory)

    def attend(self, query: tf.Tensor, memory: KeysValues) -> tuple[tf.Tensor, tf.Tensor]:
        """Attention over keys and values that are there already.

        Args:
            query: (batch, queries, width).
            memory: keys (batch, length, width) and values (batch, length, channels).

        Returns:
            (batch, queries, channels), and the weights (batch, queries, length), float32.
        """
        mixed = tf.tanh(self.query(query)[:, :, None] + memory.keys[:, None])
        weights = tf.nn.softmax(tf.cast(self.score(mixed)[..., 0], tf.float32))
        return tf.matmul(tf.cast(weights, query.dtype), memory.values), weights
