"""The decoder block: words look at the words before them, then at the image."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from model.attention import KeysValues, MultiHeadAttention


class BlockState(NamedTuple):
    """What one block keeps between two steps of decoding.

    Attributes:
        words: keys and values of the words so far, (batch × beams, heads, length, width of a head), zeros beyond.
        image: keys and values of the image, computed once, (batch, heads, cells, width of a head).
    """

    words: KeysValues
    image: KeysValues


class DecoderBlock(keras.layers.Layer):
    """Masked self-attention, cross-attention, feed-forward; each with dropout, residual and layer norm.

    Args:
        width: of input and output.
        heads: of both attentions.
        feed_forward: width between the two dense layers.
        dropout: rate.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.heads, self.feed_forward, self.rate = width, heads, feed_forward, dropout
        self.self_attention = MultiHeadAttention(width, heads, dropout, name="self_attention")
        self.cross_attention = MultiHeadAttention(width, heads, dropout, name="cross_attention")
        self.dense_in = keras.layers.Dense(feed_forward, activation="relu", name="dense_in")
        self.dense_out = keras.layers.Dense(width, name="dense_out")
        self.dropout = keras.layers.Dropout(dropout)
        self.norms = [keras.layers.LayerNormalization(name=f"norm_{i}") for i in range(3)]

    def build(self, words_shape: tuple[int | None, ...], image_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers."""
        self.self_attention.build(words_shape)
        self.cross_attention.build(words_shape, image_shape)
        self.dense_in.build(words_shape)
        self.dense_out.build((*words_shape[:-1], self.feed_forward))
        self.dropout.build(words_shape)
        for norm in self.norms:
            norm.build(words_shape)

    def call(
        self, words: tf.Tensor, image: tf.Tensor, attention_mask: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """All positions at once.

        Args:
            words: (batch × captions, length, width), captions of one image side by side.
            image: encoder output (batch, cells, width).
            attention_mask: bool (batch × captions, length, length).
            training: whether dropout applies.

        Returns:
            (batch × captions, length, width), and the cross-attention's weights
            (batch, heads, captions × length, cells).
        """
        words = self.norms[0](words + self.self_attention(words, attention_mask=attention_mask, training=training))
        return self._see_and_think(words, self.cross_attention.keys_values(image), training)

    def _see_and_think(self, words: tf.Tensor, image: KeysValues, training: bool | None) -> tuple[tf.Tensor, tf.Tensor]:
        # Captions or beams of one image are queries side by side, so its keys and values are never copied.
        beside = tf.reshape(words, (tf.shape(image.keys)[0], -1, self.width))
        seen, weights = self.cross_attention.attend(beside, image, training=training)
        seen = tf.reshape(seen, tf.shape(words))
        words = self.norms[1](words + seen)
        thought = self.dropout(self.dense_out(self.dense_in(words)), training=training)
        return self.norms[2](words + thought), weights

    def start(self, image: tf.Tensor, beams: int, length: int) -> BlockState:
        """State before the first step.

        Args:
            image: encoder output (batch, cells, width).
            beams: captions that are written at once for each image.
            length: steps at most.
        """
        keys_values = self.cross_attention.keys_values(image)
        shape = (tf.shape(image)[0] * beams, self.heads, length, self.width // self.heads)
        return BlockState(KeysValues(tf.zeros(shape, image.dtype), tf.zeros(shape, image.dtype)), keys_values)

    def step(self, words: tf.Tensor, position: tf.Tensor, state: BlockState) -> tuple[tf.Tensor, KeysValues]:
        """One position, given what is kept of those before it.

        Args:
            words: (batch × beams, 1, width).
            position: of this step, from 0.
            state: after the step before.

        Returns:
            (batch × beams, 1, width), and keys and values of the words with this one.
        """
        new = self.self_attention.keys_values(words)
        length = state.words.keys.shape[2]
        here = tf.one_hot(position, length, dtype=new.keys.dtype)[None, None, :, None]
        kept = KeysValues(state.words.keys + new.keys * here, state.words.values + new.values * here)
        seen_so_far = (tf.range(length) <= position)[None, None, :]
        attended, _ = self.self_attention.attend(words, kept, seen_so_far)
        return self._see_and_think(self.norms[0](words + attended), state.image, training=False)[0], kept

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the layer again."""
        return {
            **super().get_config(),
            "width": self.width,
            "heads": self.heads,
            "feed_forward": self.feed_forward,
            "dropout": self.rate,
        }
