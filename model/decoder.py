"""The Transformer decoder: words look at the words before them, then at the image."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from beamscribe.model.attention import KeysValues, MultiHeadAttention
from beamscribe.model.embedding import TokenAndPositionEmbedding
from beamscribe.model.masks import packed_mask, positions_in_captions
from beamscribe.model.tokenizer import PAD, START


class Cache(NamedTuple):
    """What decoding keeps between two steps; any decoder fills it with what it needs.

    Attributes:
        image: nest of tensors (batch, …), computed once.
        words: nest of tensors, replaced by each step; the decoder's `reorder` makes it follow the beams.
    """

    image: Any
    words: Any


class Written(NamedTuple):
    """What a Transformer keeps of the words so far.

    Beams are not copied when they change places: what was written stays where it is, and each beam knows which of the
    places of each position are its own. Only these numbers move.

    Attributes:
        kept: for each block keys and values (batch, heads, positions × beams, width of a head).
        places: int (batch × beams, positions), from 0 to beams - 1.
    """

    kept: tuple[KeysValues, ...]
    places: tf.Tensor


def growing_shapes(words: Any) -> Any:
    """Shape invariants of a loop over steps: positions grow, and what is known when tracing need not be known after."""
    return tf.nest.map_structure(lambda kept: tf.TensorShape([None] * len(kept.shape)), words)


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

    # Keras wants the shapes of several inputs named after what `call` takes.
    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, words_shape: tuple[int | None, ...], image_shape: tuple[int | None, ...]
    ) -> None:
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
        seen, weights = self.cross_attention.attend(self._before(1, words), image, training=training)
        words = self._after(1, words + seen)
        thought = self.dropout(self.dense_out(self.dense_in(self._before(2, words))), training=training)
        return self._after(2, words + thought), weights

    def start(self, image: tf.Tensor) -> tuple[KeysValues, KeysValues]:
        """Keys and values of the image (batch, cells, width), and those of no words."""
        memory = self.cross_attention.keys_values(image)
        nothing = tf.zeros((tf.shape(image)[0], self.heads, 0, self.width // self.heads), image.dtype)
        return memory, KeysValues(nothing, nothing)

    def step(
        self, words: tf.Tensor, own: tf.Tensor, image: KeysValues, before: KeysValues
    ) -> tuple[tf.Tensor, KeysValues]:
        """One position, given what is kept of those before it.

        Args:
            words: (batch, beams, width); beams of one image are queries side by side, so its keys and values are
                never copied.
            own: bool (batch, beams, positions × beams), which of the words so far are each beam's own, this included.
            image: keys and values of the image.
            before: keys and values of the words before.

        Returns:
            (batch, beams, width), and keys and values of the words with this one.
        """
        query = self._before(0, words)
        new = self.self_attention.keys_values(query)
        kept = KeysValues(tf.concat([before.keys, new.keys], 2), tf.concat([before.values, new.values], 2))
        attended, _ = self.self_attention.attend(query, kept, own)
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

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers for the image's shape."""
        words = (None, None, self.width)
        self.embedding.build((None, None))
        for block in self.blocks:
            block.build(words, input_shape)
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

    def start(self, image: tf.Tensor, beams: int) -> Cache:
        """See `beamscribe.model.captioner.Captioner.start`."""
        memories, kept = zip(*(block.start(image) for block in self.blocks), strict=True)
        return Cache(memories, Written(kept, tf.zeros((tf.shape(image)[0] * beams, 0), tf.int32)))

    def step(self, tokens: tf.Tensor, position: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Any]:
        """See `beamscribe.model.captioner.Captioner.step`."""
        beside = tf.reshape(tokens, (tf.shape(cache.image[0].keys)[0], -1))
        beams = tf.shape(beside)[1]
        here = tf.broadcast_to(tf.range(beams), tf.shape(beside))
        places = tf.concat([cache.words.places, tf.reshape(here, (-1, 1))], axis=1)
        own = tf.reshape(places[:, :, None] == tf.range(beams), (-1, beams, tf.shape(places)[1] * beams))
        words = self.embedding(beside, tf.reshape(position, (1, 1)))
        kept = []
        for block, image, before in zip(self.blocks, cache.image, cache.words.kept, strict=True):
            words, keys_values = block.step(words, own, image, before)
            kept.append(keys_values)
        return self._logits(tf.reshape(words, (-1, self.width))), Written(tuple(kept), places)

    def reorder(self, words: Written, rows: tf.Tensor) -> Written:
        """See `beamscribe.model.captioner.Captioner.reorder`."""
        return words._replace(places=tf.gather(words.places, rows))

    def select(self, words: Written, images: tf.Tensor, rows: tf.Tensor) -> Written:
        """See `beamscribe.model.captioner.Captioner.select`."""
        kept = tf.nest.map_structure(lambda one: tf.gather(one, images), words.kept)
        return Written(kept, tf.gather(words.places, rows))
