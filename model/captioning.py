"""A bundle opened for work: pixels or features in, sentences with scores out."""

import threading
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.backbone.choice import FLOAT32, INT8, Choice
from beamscribe.model.backbone.engine import open_engine
from beamscribe.model.backbone.spec import Engine
from beamscribe.model.bundle import CALIBRATION, VOCABULARY, Bundle, BundleError
from beamscribe.model.captioner import Captioner
from beamscribe.model.confidence import Calibration, signals
from beamscribe.model.decoding import Decoded, search_encoded
from beamscribe.model.ensemble import Ensemble, from_config
from beamscribe.model.freezing import compiled, freeze
from beamscribe.model.tokenizer import Tokenizer
from beamscribe.schemas.caption_row import Alternative
from beamscribe.schemas.feature_example import DTYPE

_FOUND = -1e8
"""Scores below this mark places of the beam that no caption filled."""


DEFAULT_CHOICE = Choice()


class DecodingOptions(NamedTuple):
    """How captions are searched.

    Attributes:
        beam_size: captions kept at each step; 1 is greedy.
        max_length: tokens of a caption at most, without the end token.
    """

    beam_size: int = 3
    max_length: int = 24

    def fitting(self, bundle: Bundle) -> "DecodingOptions":
        """The same, with captions no longer than the bundle can write."""
        return self._replace(max_length=min(self.max_length, bundle.longest_caption))


def load_captioner(bundle: Bundle) -> Captioner | Ensemble:
    """The bundle's captioner, or several that write together, rebuilt from its config by our own classes.

    Raises:
        BundleError: if config, vocabulary and weights do not belong together; found out before anything is built.
    """
    entry, vocabulary, values = bundle.captioner, bundle.vocabulary(), bundle.arrays()
    try:
        Tokenizer(vocabulary)
        _refuse_misfits(entry, vocabulary, values)
        captioner = from_config(entry)
        captioner.build()
        weights.assign(captioner, values)
    # What TensorFlow's tokenizer raises for tokens that it cannot take is a RuntimeError or an error of its own.
    except (KeyError, TypeError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise BundleError(f"{bundle.path} does not hold what its config.json says: {error}") from error
    return captioner


def _refuse_misfits(entry: dict[str, Any], vocabulary: list[str], values: dict[str, np.ndarray]) -> None:
    """Compares the sizes of a description with the arrays that are there.

    Raises:
        ValueError: naming one that differs.
    """
    sizes = entry["config"]
    if sizes["vocabulary_size"] != len(vocabulary):
        raise ValueError(f"{VOCABULARY} does not have {sizes['vocabulary_size']} tokens")
    # Each block has arrays of its own; and a layer of so many blocks takes its time even without weights.
    if entry.get("members", 1) * (sizes["encoder_blocks"] + sizes["decoder_blocks"]) > len(values):
        raise ValueError("it has fewer arrays than blocks")
    # In this scope variables have shapes and no values.
    with keras.StatelessScope():
        planned = from_config(entry)
        planned.build()
        expected = weights.shapes(planned)
    weights.refuse_other_shapes(expected, values)


def _calibration(bundle: Bundle) -> Calibration | None:
    """The bundle's, if it has one.

    Raises:
        BundleError: if it does not fit.
    """
    data = bundle.calibration()
    try:
        return None if data is None else Calibration.from_npz(data, len(bundle.vocabulary()), bundle.backbone.grid[2])
    except ValueError as error:
        raise BundleError(f"{bundle.path}/{CALIBRATION} does not fit: {error}: calibrate the bundle again") from error


class CaptionWriter:
    """Captions batches, in several threads at once where there are several.

    Args:
        bundle: what to load.
        options: how to search.
        choice: engine and precision.
    """

    def __init__(self, bundle: Bundle, options: DecodingOptions, choice: Choice = DEFAULT_CHOICE) -> None:
        captioner = load_captioner(bundle)
        self._tokenizer = Tokenizer(bundle.vocabulary())
        self._bundle, self._choice = bundle, choice
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        rows, columns, channels = bundle.backbone.grid
        calibration = self._calibration = _calibration(bundle)

        def write(features: tf.Tensor) -> Decoded | tuple[tf.Tensor, ...]:
            cells = tf.reshape(features, (-1, rows * columns, channels))
            image = captioner.encode(cells, training=False)
            found = search_encoded(captioner, image, options.beam_size, options.max_length)
            return (*found, signals(captioner, cells, image, found, calibration)) if calibration else found

        search = compiled(
            write,
            input_signature=[tf.TensorSpec((None, rows, columns, channels), DTYPE, name="features")],
        )
        self._search = freeze(search, choice.precision != FLOAT32)

    def caption_pixels(self, pixels: np.ndarray) -> list[tuple[Alternative, ...]]:
        """Captions of images.

        Args:
            pixels: uint8 (n, height, width, 3), RGB, of the backbone's input size.

        Returns:
            For each image its captions with scores, best first; none as for `caption_features`.
        """
        with self._opening:
            if self._engine is None:
                self._engine = open_engine(
                    self._bundle.backbone,
                    self._bundle.backbone_weights,
                    self._choice,
                    self._bundle.quantized() if self._choice.precision == INT8 else None,
                )
        # The engine gives features as featurize stores them: captions are the same with and without stored features.
        return self.caption_features(self._engine(pixels))

    def caption_features(self, features: np.ndarray) -> list[tuple[Alternative, ...]]:
        """Captions of features.

        Args:
            features: float16 (n, rows, columns, channels).

        Returns:
            For each image its captions with scores, best first. None of an image whose features are not all finite: a
            value beyond 65,504 is infinite in float16.
        """
        tokens, scores, *more = (result.numpy() for result in self._search(tf.constant(features)))
        confidences: list[float | None] = [None] * len(scores)
        if self._calibration:
            confidences = self._calibration.confidence(*more).tolist()
        sentences = iter(self._tokenizer.detokenize(tokens.reshape(-1, tokens.shape[-1])))
        captions = []
        finite = np.all(np.isfinite(features), axis=(1, 2, 3))
        for row, whole, confidence in zip(scores, finite, confidences, strict=True):
            pairs = [Alternative(next(sentences), float(score)) for score in row]
            pairs[0] = pairs[0]._replace(confidence=confidence)
            captions.append(tuple(pair for pair, score in zip(pairs, row, strict=True) if whole and score > _FOUND))
        return captions
