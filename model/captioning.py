"""A bundle opened for work: pixels or features in, sentences with scores out."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model import weights
from model.backbone.engine import Backbone
from model.bundle import VOCABULARY, Bundle, BundleError
from model.captioner import Captioner
from model.decoding import beam_search
from model.tokenizer import Tokenizer
from schemas.caption_row import Alternative
from schemas.feature_example import DTYPE

_FOUND = -1e8
"""Scores below this mark places of the beam that no caption filled."""


class DecodingOptions(NamedTuple):
    """How captions are searched.

    Attributes:
        beam_size: captions kept at each step; 1 is greedy.
        max_length: tokens of a caption at most, without the end token.
    """

    beam_size: int = 3
    max_length: int = 24


def load_captioner(bundle: Bundle) -> Captioner:
    """The bundle's captioner, rebuilt from its config by our own classes.

    Raises:
        BundleError: if the weights do not fit.
    """
    try:
        captioner = Captioner.from_config(bundle.config["captioner"])
        if captioner.config.vocabulary_size != len(bundle.vocabulary()):
            raise ValueError(f"{VOCABULARY} does not have {captioner.config.vocabulary_size} tokens")
        captioner.build()
        weights.assign(captioner, bundle.arrays())
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{bundle.path} does not hold what its config.json says: {error}") from error
    return captioner


class CaptionWriter:
    """Captions batches; one function is compiled for each size of batch.

    Args:
        bundle: what to load.
        options: how to search.
    """

    def __init__(self, bundle: Bundle, options: DecodingOptions) -> None:
        self._options = options
        self._captioner = load_captioner(bundle)
        self._tokenizer = Tokenizer(bundle.vocabulary())
        self._bundle = bundle
        self._backbone: Backbone | None = None
        self._from_features = tf.function(self._search)
        self._from_pixels = tf.function(self._see)

    def _search(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows, columns, channels = self._bundle.backbone.grid
        # Rounded as featurize stores them, so that captions are the same with and without stored features.
        rounded = tf.cast(tf.reshape(features, (-1, rows * columns, channels)), DTYPE)
        return beam_search(self._captioner, rounded, self._options.beam_size, self._options.max_length)

    def _see(self, pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self._backbone is None:
            raise RuntimeError("caption_pixels opens the backbone first")
        return self._search(self._backbone.grid(pixels))

    def caption_pixels(self, pixels: np.ndarray) -> list[tuple[Alternative, ...]]:
        """Captions of images.

        Args:
            pixels: uint8 (n, height, width, 3), RGB, of the backbone's input size.

        Returns:
            For each image its captions with scores, best first.
        """
        if self._backbone is None:
            self._backbone = Backbone(self._bundle.backbone, self._bundle.backbone_weights)
        return self._write(self._from_pixels, pixels)

    def caption_features(self, features: np.ndarray) -> list[tuple[Alternative, ...]]:
        """Captions of features.

        Args:
            features: float16 (n, rows, columns, channels).

        Returns:
            For each image its captions with scores, best first.
        """
        return self._write(self._from_features, features)

    def _write(self, compiled: tf.function, items: np.ndarray) -> list[tuple[Alternative, ...]]:
        tokens, scores = (result.numpy() for result in compiled(items))
        sentences = iter(self._tokenizer.detokenize(tokens.reshape(-1, tokens.shape[-1])))
        captions = []
        for row in scores:
            pairs = [Alternative(next(sentences), float(score)) for score in row]
            captions.append(tuple(pair for pair in pairs if pair.score > _FOUND))
        return captions
