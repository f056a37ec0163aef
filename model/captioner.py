"""The captioner: an encoder of an image's grid features and a decoder of words."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model.decoder import Cache, TransformerDecoder
from beamscribe.model.decoder_names import BASIC, LSTM, LSTM_ATTENTION, TRANSFORMER
from beamscribe.model.encoder import BasicEncoder, CellEncoder, GridEncoder, PooledEncoder
from beamscribe.model.lstm_decoder import LSTMDecoder


class CaptionerConfig(NamedTuple):
    """Everything the captioner is built from.

    Attributes:
        grid: (rows, columns, channels) of the features.
        vocabulary_size: number of tokens.
        decoder: one of `DECODERS`; the encoder that belongs to it comes along.
        max_length: tokens of the longest caption, start and end tokens included.
        width: of the vectors inside.
        heads: of each attention of a Transformer.
        feed_forward: width inside a Transformer's feed-forward parts.
        encoder_blocks: of a Transformer.
        decoder_blocks: of a Transformer.
        dropout: rate.
        visual_dropout: rate on the features, for "transformer" only.
    """

    grid: tuple[int, int, int]
    vocabulary_size: int
    decoder: str = TRANSFORMER
    max_length: int = 32
    width: int = 512
    heads: int = 8
    feed_forward: int = 1024
    encoder_blocks: int = 1
    decoder_blocks: int = 1
    dropout: float = 0.2
    visual_dropout: float = 0.0


class Captioner(keras.Model):
    """Encoder over the grid cells, decoder over the words.

    Args:
        config: kind and sizes.
    """

    def __init__(self, config: CaptionerConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)

    def build(self, input_shape: Any = None) -> None:
        """Builds every layer; the sizes are all in the config."""
        rows, columns, channels = self.config.grid
        self.encoder.build((None, rows * columns, channels))
        self.decoder.build((None, rows * columns, self.config.width))
        self.built = True

    def adapt(self, features: np.ndarray) -> None:
        """Measures what the encoder must know of the features (images, cells, channels) before training."""
        self.encoder.adapt(features)

    def encode(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes images.

        Args:
            features: (batch, cells, channels), any float type.
            training: whether dropout applies.

        Returns:
            (batch, cells, width); one cell where the decoder is "lstm".
        """
        return self.encoder(tf.cast(features, self.compute_dtype), training=training)

    def decode(
        self, tokens: tf.Tensor, image: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Next-token logits at every position.

        Args:
            tokens: int (batch, length), captions of one image one after another, each from its start token on.
            image: encoder output (batch, cells, width).
            training: whether dropout applies.

        Returns:
            float32 (batch, length, vocabulary), and the last cross-attention's weights (batch, heads, length, cells),
            None where the decoder is "lstm".
        """
        return self.decoder(tokens, image, training=training)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Logits of all captions of an image, which is encoded once.

        Args:
            inputs: features (batch, cells, channels) and tokens int (batch, length), see `decode`.
            training: whether dropout applies.

        Returns:
            float32 (batch, length, vocabulary).
        """
        features, tokens = inputs
        return self.decode(tokens, self.encode(features, training), training)[0]

    def start(self, image: tf.Tensor, beams: int) -> Cache:
        """What decoding keeps before the first token.

        Args:
            image: encoder output (batch, cells, width).
            beams: captions that are written at once for each image.
        """
        return self.decoder.start(image, beams)

    def step(self, tokens: tf.Tensor, position: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Any]:
        """Next-token logits after one more token.

        Args:
            tokens: int (batch × beams,), the token at `position`.
            position: from 0.
            cache: of the step before.

        Returns:
            float32 (batch × beams, vocabulary), and the `words` of the next step's cache.
        """
        return self.decoder.step(tokens, position, cache)

    def reorder(self, words: Any, rows: tf.Tensor) -> Any:
        """The `words` of a cache after beams have changed places.

        Args:
            words: of the last step.
            rows: int (batch × beams,), for each row the one that it continues, of the same image.
        """
        return self.decoder.reorder(words, rows)

    def select(self, words: Any, images: tf.Tensor, rows: tf.Tensor) -> Any:
        """The `words` of a cache for some of the images alone.

        Args:
            words: of the last step.
            images: int (n,), which images stay.
            rows: int (n × beams,), their rows.
        """
        return self.decoder.select(words, images, rows)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the model again."""
        return {"config": self.config._asdict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Captioner":
        """The model of a config that went through JSON."""
        fields = dict(config["config"])
        return cls(CaptionerConfig(**{**fields, "grid": tuple(fields["grid"])}))


def _encoder(config: CaptionerConfig) -> keras.layers.Layer:
    if config.decoder == LSTM:
        return PooledEncoder(config.width, name="encoder")
    if config.decoder == LSTM_ATTENTION:
        return CellEncoder(config.width, name="encoder")
    if config.decoder == BASIC:
        return BasicEncoder(config.width, config.heads, config.encoder_blocks, config.dropout, name="encoder")
    return GridEncoder(
        (config.grid[0], config.grid[1]),
        config.width,
        config.heads,
        config.feed_forward,
        config.encoder_blocks,
        config.dropout,
        config.visual_dropout,
        name="encoder",
    )


def _decoder(config: CaptionerConfig) -> keras.layers.Layer:
    if config.decoder in (LSTM, LSTM_ATTENTION):
        return LSTMDecoder(
            config.vocabulary_size, config.width, config.dropout, config.decoder == LSTM_ATTENTION, name="decoder"
        )
    args = config.decoder == TRANSFORMER
    return TransformerDecoder(
        config.vocabulary_size,
        config.max_length,
        config.width,
        config.heads,
        config.feed_forward,
        config.decoder_blocks,
        config.dropout,
        pre_norm=args,
        tied=args,
        name="decoder",
    )
