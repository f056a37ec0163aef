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

    def call(self, tokens: tf.Tensor, first: int | tf.Tensor = 0) -> tf.Tensor:
        """Vectors of tokens.

        Args:
            tokens: int (batch, length).
            first: position of the first of them.

        Returns:
            (batch, length, width).
        """
        # The scale keeps tokens from drowning in positions at the start (Vaswani et al. 2017, section 3.4).
        scaled = self.tokens(tokens) * float(self.width) ** 0.5
        return scaled + self.positions(first + tf.range(tf.shape(tokens)[1]))[None]

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the layer again."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "length": self.length,
            "width": self.width,
        }
