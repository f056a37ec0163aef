"""The encoders: what the decoder attends to, made of an image's grid cells."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model.attention import MultiHeadAttention
from beamscribe.model.standardization import FeatureStandardization

PLACE_DEVIATION = 0.7
"""Standard deviation of the initial vectors of rows and columns: their sum is then half as large as what is made of a
cell's features, so that attention can go by it from the first step on. At 0.03 they stayed at what they began with."""


class PooledEncoder(keras.layers.Layer):
    """The mean of all cells through one dense layer: an image as one vector (Vinyals et al. 2015, arXiv:1411.4555).

    Args:
        width: of the output.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.projection = keras.layers.Dense(width, activation="relu", name="projection")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layer."""
        self.projection.build(input_shape)

    def adapt(self, features: np.ndarray) -> None:
        """Nothing is measured."""

    def call(self, cells: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes (batch, cells, channels) as (batch, 1, width)."""
        return self.projection(tf.reduce_mean(cells, axis=1, keepdims=True))


class CellEncoder(PooledEncoder):
    """Each cell through the same dense layer, for an attention over cells (Xu et al. 2015, arXiv:1502.03044)."""

    def call(self, cells: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes (batch, cells, channels) as (batch, cells, width)."""
        return self.projection(cells)


class BasicEncoder(keras.layers.Layer):
    """The encoder of the project's source slides (Keras example "Image Captioning", A. K. Nain 2021).

    A block is layer norm, dense projection, multi-head self-attention, residual, layer norm. Heads share the width, as
    in Vaswani et al. 2017; the example gives each head the whole of it, at eight times the cost.

    Args:
        width: of the output.
        heads: of the self-attention.
        blocks: number of blocks.
        dropout: rate.
    """

    def __init__(self, width: int, heads: int, blocks: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.norms_in = [keras.layers.LayerNormalization(name=f"norm_in_{i}") for i in range(blocks)]
        self.projections = [keras.layers.Dense(width, activation="relu", name=f"projection_{i}") for i in range(blocks)]
        self.attentions = [MultiHeadAttention(width, heads, dropout, name=f"self_attention_{i}") for i in range(blocks)]
        self.norms_out = [keras.layers.LayerNormalization(name=f"norm_out_{i}") for i in range(blocks)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers."""
        inner = (*input_shape[:-1], self.width)
        for i, attention in enumerate(self.attentions):
            self.norms_in[i].build(inner if i else input_shape)
            self.projections[i].build(inner if i else input_shape)
            attention.build(inner)
            self.norms_out[i].build(inner)

    def adapt(self, features: np.ndarray) -> None:
        """Nothing is measured."""

    def call(self, cells: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes (batch, cells, channels) as (batch, cells, width)."""
        for norm_in, projection, attention, norm_out in zip(
            self.norms_in, self.projections, self.attentions, self.norms_out, strict=True
        ):
            projected = projection(norm_in(cells))
            cells = norm_out(projected + attention(projected, training=training))
        return cells


class GridEncoder(keras.layers.Layer):
    """Our encoder: standardised channels, a projection with the place of each cell, then pre-norm Transformer blocks.

    Pre-norm (Xiong et al. 2020, arXiv:2002.04745) trains without a long warm-up; rows and columns have learned vectors
    of their own that are added, so that a cell knows its place in two dimensions.

    Args:
        grid: (rows, columns) of the cells.
        width: of the output.
        heads: of the self-attention.
        feed_forward: width inside a block's feed-forward part.
        blocks: number of blocks.
        dropout: rate inside the blocks.
        visual_dropout: rate on the standardised features.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        width: int,
        heads: int,
        feed_forward: int,
        blocks: int,
        dropout: float,
        visual_dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grid, self.width, self.feed_forward = grid, width, feed_forward
        self.standardize = FeatureStandardization(name="standardize")
        self.visual_dropout = keras.layers.Dropout(visual_dropout)
        self.projection = keras.layers.Dense(width, name="projection")
        self.dropouts = [keras.layers.Dropout(dropout) for _ in range(blocks)]
        self.attentions = [MultiHeadAttention(width, heads, dropout, name=f"self_attention_{i}") for i in range(blocks)]
        self.dense_in = [
            keras.layers.Dense(feed_forward, activation="relu", name=f"dense_in_{i}") for i in range(blocks)
        ]
        self.dense_out = [keras.layers.Dense(width, name=f"dense_out_{i}") for i in range(blocks)]
        self.norms = [keras.layers.LayerNormalization(name=f"norm_{i}") for i in range(2 * blocks + 1)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers and the positions."""
        inner = (*input_shape[:-1], self.width)
        self.standardize.build(input_shape)
        self.projection.build(input_shape)
        rows, columns = self.grid
        places = keras.initializers.RandomNormal(stddev=PLACE_DEVIATION)
        self.rows = self.add_weight(shape=(rows, 1, self.width), initializer=places, name="rows")
        self.columns = self.add_weight(shape=(1, columns, self.width), initializer=places, name="columns")
        for attention, dense_in, dense_out in zip(self.attentions, self.dense_in, self.dense_out, strict=True):
            attention.build(inner)
            dense_in.build(inner)
            dense_out.build((*input_shape[:-1], self.feed_forward))
        for norm in self.norms:
            norm.build(inner)

    def adapt(self, features: np.ndarray) -> None:
        """Measures mean and deviation of each channel of (images, cells, channels)."""
        self.standardize.adapt(features)

    def call(self, cells: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes (batch, cells, channels) as (batch, cells, width)."""
        cells = self.projection(self.visual_dropout(self.standardize(cells), training=training))
        cells += tf.cast(tf.reshape(self.rows + self.columns, (1, -1, self.width)), cells.dtype)
        for i, attention in enumerate(self.attentions):
            cells += attention(self.norms[2 * i](cells), training=training)
            thought = self.dense_out[i](self.dense_in[i](self.norms[2 * i + 1](cells)))
            cells += self.dropouts[i](thought, training=training)
        return self.norms[-1](cells)
