"""The Transformer decoder: words look at the words before them, then at the image."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from model.attention import KeysValues, MultiHeadAttention
from model.embedding import TokenAndPositionEmbedding
from model.masks import packed_mask, positions_in_captions
from model.tokenizer import PAD, START


class Cache(NamedTuple):
    """What decoding keeps between two steps; any decoder fills it with what it needs.

    Attributes:
        image: nest of tensors (batch, …), computed once.
        words: nest of tensors (batch × beams, …), replaced by each step and reordered with the beams.
    """

    image: Any
    words: Any


class DecoderBlock(keras.layers.Layer):
    """Masked self-attention, cross-attention, feed-forward; each with dropout, residual and layer norm.

    Args:
        width: of input and output.
        heads: of both attentions.
        feed_forward: width between the two dense layers.
        dropout: rate.
        pre_norm: whether a part's input is normalised (Xiong et al. 2020, arXiv:2002.04745), or the sum after it
            (Vaswani et al. 2017).
    """

    def __init__(
        self, width: int, heads: int, feed_forward: int, dropout: float, pre_norm: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width, self.heads, self.feed_forward, self.pre_norm = width, heads, feed_forward, pre_norm
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
        for norm in self.norms:
            norm.build(words_shape)

    def _before(self, part: int, words: tf.Tensor) -> tf.Tensor:
        return self.norms[part](words) if self.pre_norm else words

    def _after(self, part: int, words: tf.Tensor) -> tf.Tensor:
        return words if self.pre_norm else self.norms[part](words)

    def call(
        self, words: tf.Tensor, image: tf.Tensor, attention_mask: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """All positions at once.

        Args:
            words: (batch, length, width).
            image: encoder output (batch, cells, width).
            attention_mask: bool (batch, length, length).
            training: whether dropout applies.

        Returns:
            (batch, length, width), and the cross-attention's weights (batch, heads, length, cells).
        """
        before = self._before(0, words)
        attended = self.self_attention(before, attention_mask=attention_mask, training=training)
        words = self._after(0, words + attended)
        return self._see_and_think(words, self.cross_attention.keys_values(image), training)

    def _see_and_think(self, words: tf.Tensor, image: KeysValues, training: bool | None) -> tuple[tf.Tensor, tf.Tensor]:
        # Beams of one image are queries side by side, so its keys and values are never copied.
        beside = tf.reshape(self._before(1, words), (tf.shape(image.keys)[0], -1, self.width))
        seen, weights = self.cross_attention.attend(beside, image, training=training)
        words = self._after(1, words + tf.reshape(seen, tf.shape(words)))
        thought = self.dropout(self.dense_out(self.dense_in(self._before(2, words))), training=training)
        return self._after(2, words + thought), weights

    def start(self, image: tf.Tensor, beams: int, length: int) -> tuple[KeysValues, KeysValues]:
        """Keys and values of the image, and room for those of the words.

        Args:
            image: encoder output (batch, cells, width).
            beams: captions that are written at once for each image.
            length: steps at most.
        """
        shape = (tf.shape(image)[0] * beams, self.heads, length, self.width // self.heads)
        room = tf.zeros(shape, image.dtype)
        return self.cross_attention.keys_values(image), KeysValues(room, room)

    def step(
        self, words: tf.Tensor, position: tf.Tensor, image: KeysValues, before: KeysValues
    ) -> tuple[tf.Tensor, KeysValues]:
        """One position, given what is kept of those before it.

        Args:
            words: (batch × beams, 1, width).
            position: of this step, from 0.
            image: keys and values of the image.
            before: keys and values of the words before.

        Returns:
            (batch × beams, 1, width), and keys and values of the words with this one.
        """
        query = self._before(0, words)
        new = self.self_attention.keys_values(query)
        length = before.keys.shape[2]
        here = tf.one_hot(position, length, dtype=new.keys.dtype)[None, None, :, None]
        kept = KeysValues(before.keys + new.keys * here, before.values + new.values * here)
        seen_so_far = (tf.range(length) <= position)[None, None, :]
        attended, _ = self.self_attention.attend(query, kept, seen_so_far)
        return self._see_and_think(self._after(0, words + attended), image, training=False)[0], kept


class TransformerDecoder(keras.layers.Layer):
    """Embedding, blocks, logits.

    Args:
        vocabulary_size: number of tokens.
        max_length: positions a caption can have.
        width: of the vectors inside.
        heads: of each attention.
        feed_forward: width inside the feed-forward parts.
        blocks: number of blocks.
        dropout: rate.
        pre_norm: see `DecoderBlock`.
        tied: whether the logits are products with the embeddings (Press and Wolf 2017, arXiv:1608.05859).
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int,
        width: int,
        heads: int,
        feed_forward: int,
        blocks: int,
        dropout: float,
        pre_norm: bool,
        tied: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width, self.tied = width, tied
        self.embedding = TokenAndPositionEmbedding(vocabulary_size, max_length, width, name="embedding")
        self.dropout = keras.layers.Dropout(dropout)
        self.blocks = [
            DecoderBlock(width, heads, feed_forward, dropout, pre_norm, name=f"block_{i}") for i in range(blocks)
        ]
        self.norm = keras.layers.LayerNormalization(name="norm") if pre_norm else None
        # Logits are float32: a softmax over thousands of tokens loses too much in 16 bits.
        self.dense = None if tied else keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")

    def build(self, image_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers."""
        words = (None, None, self.width)
        self.embedding.build((None, None))
        for block in self.blocks:
            block.build(words, image_shape)
        for layer in (self.norm, self.dense):
            if layer is not None:
                layer.build(words)
        if self.tied:
            self.bias = self.add_weight(shape=(self.embedding.vocabulary_size,), initializer="zeros", name="bias")

    def _logits(self, words: tf.Tensor) -> tf.Tensor:
        words = words if self.norm is None else self.norm(words)
        if self.dense is not None:
            return self.dense(words)
        table = tf.cast(self.embedding.tokens.embeddings, words.dtype)
        flat = tf.matmul(tf.reshape(words, (-1, self.width)), table, transpose_b=True)
        logits = tf.reshape(flat, (*tf.unstack(tf.shape(words)[:-1]), table.shape[0]))
        return tf.cast(logits, tf.float32) + self.bias

    def call(
        self, tokens: tf.Tensor, image: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Next-token logits at every position.

        Args:
            tokens: int (batch, length), captions of one image one after another, each from its start token on.
            image: encoder output (batch, cells, width).
            training: whether dropout applies.

        Returns:
            float32 (batch, length, vocabulary), and the last block's cross-attention weights
            (batch, heads, length, cells).
        """
        mask = packed_mask(tokens, START, PAD)
        words = self.dropout(self.embedding(tokens, positions_in_captions(mask)), training=training)
        weights = None
        for block in self.blocks:
            words, weights = block(words, image, attention_mask=mask, training=training)
        return self._logits(words), weights

    def start(self, image: tf.Tensor, beams: int, length: int) -> Cache:
        """See `model.captioner.Captioner.start`."""
        return Cache(*zip(*(block.start(image, beams, length) for block in self.blocks), strict=True))

    def step(self, tokens: tf.Tensor, position: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Any]:
        """See `model.captioner.Captioner.step`."""
        words = self.embedding(tokens[:, None], tf.reshape(position, (1, 1)))
        kept = []
        for block, image, before in zip(self.blocks, cache.image, cache.words, strict=True):
            words, keys_values = block.step(words, position, image, before)
            kept.append(keys_values)
        return self._logits(words)[:, 0], tuple(kept)
