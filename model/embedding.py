"""Tokens with their positions as vectors."""

from typing import Any

import keras
import tensorflow as tf


class TokenAndPositionEmbedding(keras.layers.Layer):
    """Learned embeddings of token and position, added.

    Args:
        vocabulary_size: number of tokens.
        length: number of positions.
        width: of the vectors.
    """

    def __init__(self, vocabulary_size: int, length: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.length, self.width = vocabulary_size, length, width
        self.tokens = keras.layers.Embedding(vocabulary_size, width, name="tokens")
        self.positions = keras.layers.Embedding(length, width, name="positions")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both tables."""
        self.tokens.build(input_shape)
        self.positions.build(input_shape)

    def call(self, tokens: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Vectors of tokens.

        Args:
            tokens: int (batch, length).
            positions: int, broadcastable to (batch, length).

        Returns:
            (batch, length, width).
        """
        # The scale keeps tokens from drowning in positions at the start (Vaswani et al. 2017, section 3.4).
        return self.tokens(tokens) * float(self.width) ** 0.5 + self.positions(positions)
