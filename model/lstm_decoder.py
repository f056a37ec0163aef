"""The recurrent decoders of the project's source slides: CNN + RNN, and sequence to sequence with attention."""

from typing import Any

import keras
import tensorflow as tf

from beamscribe.model.attention import AdditiveAttention
from beamscribe.model.decoder import Cache
from beamscribe.model.tokenizer import START


class LSTMDecoder(keras.layers.Layer):
    """One LSTM whose state begins as the image.

    Without attention the image speaks through the first state alone (Vinyals et al. 2015, arXiv:1411.4555, feed it as
    the first word). With attention each step also looks at the cells (Bahdanau et al. 2015, arXiv:1409.0473; Xu et al.
    2015, arXiv:1502.03044).

    Args:
        vocabulary_size: number of tokens.
        width: of embeddings and state.
        dropout: rate on embeddings and outputs.
        attention: whether each step looks at the cells.
    """

    def __init__(self, vocabulary_size: int, width: int, dropout: float, attention: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.embedding = keras.layers.Embedding(vocabulary_size, width, name="embedding")
        self.dropout = keras.layers.Dropout(dropout)
        self.first = keras.layers.Dense(2 * width, activation="tanh", name="first")
        self.from_word = keras.layers.Dense(4 * width, name="from_word")
        self.from_state = keras.layers.Dense(
            4 * width, use_bias=False, kernel_initializer="orthogonal", name="from_state"
        )
        self.attention = AdditiveAttention(width, name="attention") if attention else None
        self.from_seen = keras.layers.Dense(4 * width, use_bias=False, name="from_seen") if attention else None
        self.logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers for the image's shape."""
        state = (None, self.width)
        self.embedding.build((None, None))
        self.first.build((None, input_shape[-1]))
        self.from_word.build(state)
        self.from_state.build(state)
        if self.attention is not None and self.from_seen is not None:
            self.attention.build(state, input_shape)
            self.from_seen.build((None, input_shape[-1]))
        self.logits.build(state)

    def _first_state(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        hidden, cell = tf.split(self.first(tf.reduce_mean(image, axis=1)), 2, axis=-1)
        return hidden, cell

    def _advance(
        self, from_word: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor, image: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """One step of the LSTM; rows of one image are side by side, so its cells are never copied."""
        gates, weights = from_word + self.from_state(hidden), None
        if self.attention is not None and self.from_seen is not None:
            images = tf.shape(image.keys)[0]
            seen, weights = self.attention.attend(tf.reshape(hidden, (images, -1, self.width)), image)
            gates += self.from_seen(tf.reshape(seen, (-1, seen.shape[-1])))
        into, forget, out, new = tf.split(gates, 4, axis=-1)
        # A forget gate that begins open lets gradients through (Jozefowicz et al. 2015).
        cell = tf.sigmoid(forget + 1.0) * cell + tf.sigmoid(into) * tf.tanh(new)
        return tf.sigmoid(out) * tf.tanh(cell), cell, weights

    def call(
        self, tokens: tf.Tensor, image: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Next-token logits at every position.

        Args:
            tokens: int (batch, length), captions of one image one after another, each from its start token on.
            image: encoder output (batch, cells, width).
            training: whether dropout applies.

        Returns:
            float32 (batch, length, vocabulary), and the attention's weights (batch, 1, length, cells) if there is one.
        """
        from_words = self.from_word(self.dropout(self.embedding(tokens), training=training))
        memory = None if self.attention is None else self.attention.keys_values(image)
        first_hidden, first_cell = self._first_state(image)
        length = tf.shape(tokens)[1]
        starts = tf.transpose(tokens == START)[:, :, None]
        words = tf.transpose(from_words, (1, 0, 2))

        def advance(
            step: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor, outputs: tf.TensorArray, seen: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray, tf.TensorArray]:
            begin = starts[step]
            hidden, cell = tf.where(begin, first_hidden, hidden), tf.where(begin, first_cell, cell)
            hidden, cell, weights = self._advance(words[step], hidden, cell, memory)
            if weights is not None:
                seen = seen.write(step, weights[:, 0])
            return step + 1, hidden, cell, outputs.write(step, hidden), seen

        hidden_array, seen_array = tf.TensorArray(image.dtype, length), tf.TensorArray(tf.float32, length)
        _, _, _, hidden_array, seen_array = tf.while_loop(
            lambda step, *_: step < length,
            advance,
            (0, first_hidden, first_cell, hidden_array, seen_array),
        )
        hidden = tf.transpose(tf.ensure_shape(hidden_array.stack(), (None, None, self.width)), (1, 0, 2))
        weights = None if memory is None else tf.transpose(seen_array.stack(), (1, 0, 2))[:, None]
        return self.logits(self.dropout(hidden, training=training)), weights

    def start(self, image: tf.Tensor, beams: int) -> Cache:
        """See `beamscribe.model.captioner.Captioner.start`."""
        memory = () if self.attention is None else self.attention.keys_values(image)
        return Cache(memory, tuple(tf.repeat(state, beams, axis=0) for state in self._first_state(image)))

    def step(self, tokens: tf.Tensor, position: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Any]:
        """See `beamscribe.model.captioner.Captioner.step`."""
        hidden, cell = cache.words
        hidden, cell, _ = self._advance(self.from_word(self.embedding(tokens)), hidden, cell, cache.image)
        return self.logits(hidden), (hidden, cell)

    def reorder(self, words: tuple[tf.Tensor, tf.Tensor], rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `beamscribe.model.captioner.Captioner.reorder`."""
        hidden, cell = words
        return tf.gather(hidden, rows), tf.gather(cell, rows)

    def select(
        self, words: tuple[tf.Tensor, tf.Tensor], images: tf.Tensor, rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `beamscribe.model.captioner.Captioner.select`."""
        return self.reorder(words, rows)
