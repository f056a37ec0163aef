"""The captioner: a Transformer from an image's grid features to words."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from model.attention import KeysValues
from model.decoder import BlockState, DecoderBlock
from model.embedding import TokenAndPositionEmbedding
from model.encoder import EncoderBlock
from model.masks import decoder_mask
from model.standardization import FeatureStandardization
from model.tokenizer import PAD


class CaptionerConfig(NamedTuple):
    """Everything the captioner is built from.

    Attributes:
        grid: (rows, columns, channels) of the features.
        vocabulary_size: number of tokens.
        max_length: tokens of the longest caption, start and end tokens included.
        width: of the vectors inside.
        heads: of each attention.
        feed_forward: width inside the decoder's feed-forward part.
        encoder_blocks: number of encoder blocks.
        decoder_blocks: number of decoder blocks.
        dropout: rate.
    """

    grid: tuple[int, int, int]
    vocabulary_size: int
    max_length: int = 32
    width: int = 512
    heads: int = 8
    feed_forward: int = 1024
    encoder_blocks: int = 1
    decoder_blocks: int = 1
    dropout: float = 0.2


class Captioner(keras.Model):
    """Encoder over the grid cells, decoder over the words.

    Args:
        config: sizes.
    """

    def __init__(self, config: CaptionerConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.standardize = FeatureStandardization(config.grid[-1], name="standardize")
        self.encoder_blocks = [
            EncoderBlock(config.width, config.heads, config.dropout, name=f"encoder_{i}")
            for i in range(config.encoder_blocks)
        ]
        self.embedding = TokenAndPositionEmbedding(
            config.vocabulary_size, config.max_length, config.width, name="embedding"
        )
        self.embedding_dropout = keras.layers.Dropout(config.dropout)
        self.decoder_blocks = [
            DecoderBlock(config.width, config.heads, config.feed_forward, config.dropout, name=f"decoder_{i}")
            for i in range(config.decoder_blocks)
        ]
        # Logits stay float32: a softmax over thousands of tokens loses too much in 16 bits.
        self.logits = keras.layers.Dense(config.vocabulary_size, dtype="float32", name="logits")

    def build(self, input_shape: Any = None) -> None:
        """Builds every layer; the sizes are all in the config."""
        config = self.config
        rows, columns, channels = config.grid
        image = (None, rows * columns, config.width)
        words = (None, None, config.width)
        self.standardize.build((None, rows * columns, channels))
        for i, block in enumerate(self.encoder_blocks):
            block.build((None, rows * columns, channels) if i == 0 else image)
        self.embedding.build((None, None))
        self.embedding_dropout.build(words)
        for decoder_block in self.decoder_blocks:
            decoder_block.build(words, image)
        self.logits.build(words)
        self.built = True

    def encode(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes images.

        Args:
            features: (batch, cells, channels), any float type.
            training: whether dropout applies.

        Returns:
            (batch, cells, width).
        """
        image = self.standardize(tf.cast(features, self.compute_dtype))
        for block in self.encoder_blocks:
            image = block(image, training=training)
        return image

    def decode(self, tokens: tf.Tensor, image: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Next-token logits at every position.

        Args:
            tokens: int (batch × captions, length), captions of one image side by side.
            image: encoder output (batch, cells, width).
            training: whether dropout applies.

        Returns:
            float32 (batch × captions, length, vocabulary), and the last block's cross-attention weights
            (batch, heads, captions × length, cells).
        """
        attention_mask = decoder_mask(tokens, PAD)
        words = self.embedding_dropout(self.embedding(tokens), training=training)
        weights = None
        for block in self.decoder_blocks:
            words, weights = block(words, image, attention_mask=attention_mask, training=training)
        return self.logits(words), weights

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Logits of several captions an image; the image is encoded once.

        Args:
            inputs: features (batch, cells, channels) and tokens int (batch, captions, length).
            training: whether dropout applies.

        Returns:
            float32 (batch, captions, length, vocabulary).
        """
        features, tokens = inputs
        captions, length = tf.shape(tokens)[1], tf.shape(tokens)[2]
        image = self.encode(features, training)
        logits, _ = self.decode(tf.reshape(tokens, (-1, length)), image, training)
        return tf.reshape(logits, (-1, captions, length, self.config.vocabulary_size))

    def start(self, image: tf.Tensor, beams: int, length: int) -> list[BlockState]:
        """Decoding states before the first token.

        Args:
            image: encoder output (batch, cells, width).
            beams: captions that are written at once for each image.
            length: steps at most.
        """
        return [block.start(image, beams, length) for block in self.decoder_blocks]

    def step(
        self, tokens: tf.Tensor, position: tf.Tensor, states: list[BlockState]
    ) -> tuple[tf.Tensor, list[KeysValues]]:
        """Next-token logits after one more token.

        Args:
            tokens: int (batch × beams,), the token at `position`.
            position: from 0.
            states: of each decoder block.

        Returns:
            float32 (batch × beams, vocabulary), and each block's keys and values of the words so far.
        """
        words = self.embedding(tokens[:, None], position)
        kept = []
        for block, state in zip(self.decoder_blocks, states, strict=True):
            words, keys_values = block.step(words, position, state)
            kept.append(keys_values)
        return self.logits(words)[:, 0], kept

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the model again."""
        return {"config": self.config._asdict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Captioner":
        """The model of a config that went through JSON."""
        fields = dict(config["config"])
        return cls(CaptionerConfig(**{**fields, "grid": tuple(fields["grid"])}))
