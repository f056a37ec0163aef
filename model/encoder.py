"""The encoder: the grid cells of an image look at each other."""

from typing import Any

import keras
import tensorflow as tf

from model.attention import MultiHeadAttention


class EncoderBlock(keras.layers.Layer):
    """Layer norm, dense projection, multi-head self-attention, residual, layer norm.

    The block of the project's source slides (Keras example "Image Captioning", A. K. Nain 2021).

    Args:
        width: of the output.
        heads: of the self-attention.
        dropout: rate.
    """

    def __init__(self, width: int, heads: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.heads, self.rate = width, heads, dropout
        self.norm_in = keras.layers.LayerNormalization(name="norm_in")
        self.projection = keras.layers.Dense(width, activation="relu", name="projection")
        self.attention = MultiHeadAttention(width, heads, dropout, name="self_attention")
        self.norm_out = keras.layers.LayerNormalization(name="norm_out")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers."""
        inner = (*input_shape[:-1], self.width)
        self.norm_in.build(input_shape)
        self.projection.build(input_shape)
        self.attention.build(inner)
        self.norm_out.build(inner)

    def call(self, cells: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes cells.

        Args:
            cells: (batch, cells, channels).
            training: whether dropout applies.

        Returns:
            (batch, cells, width).
        """
        projected = self.projection(self.norm_in(cells))
        return self.norm_out(projected + self.attention(projected, training=training))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the layer again."""
        return {**super().get_config(), "width": self.width, "heads": self.heads, "dropout": self.rate}
