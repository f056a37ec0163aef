"""How sure a captioner may be of a caption: signals of its own, weighed so that they say how often it is right.

The signals cost one pass over the best caption with the image and one without. A logistic regression (Platt 1999) on
them, fitted by `beamscribe calibrate` on photographs that training did not see, makes them a chance: of captions with
confidence 0.7, seven in ten are acceptable.
"""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from beamscribe.model.decoding import Decoded
from beamscribe.model.npz import read_arrays
from beamscribe.model.tokenizer import PAD, START

SIGNALS = ("score", "information", "least", "entropy", "length", "spread", "words", "picture")
"""
score: mean log probability of the tokens.
information: mean of log p(token | image) minus log p(token | mean image): how much the image matters.
least: log probability of the least probable token.
entropy: mean entropy of the tokens' distributions, in nats.
length: number of tokens.
spread: score of the best caption minus that of the second; 0 with a beam of one.
words: sum of a learned weight of each of the caption's tokens: some things are mostly recognised.
picture: a learned linear function of the encoded image's mean, for the same reason.
"""

CLIPPED = 4.0
"""Standardised signals beyond this count as this: what is far from all that was measured must not decide alone."""


class Calibration(NamedTuple):
    """What makes signals a confidence.

    Attributes:
        words: float32 (vocabulary,), of the signal `words`.
        picture: float32 (channels of the encoded image,), of the signal `picture`.
        mean: float32 (signals,), to standardise them.
        deviation: the same.
        weights: float32 (signals,), of the logistic regression.
        bias: float32 (1,).
    """

    words: np.ndarray
    picture: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def to_npz(self) -> bytes:
        """As the bytes of an `.npz` file."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in self._asdict().items()}
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, data: bytes, vocabulary_size: int, channels: int) -> "Calibration":
        """What `to_npz` gave.

        Raises:
            ValueError: if arrays are missing, of other shapes or not finite.
        """
        found = read_arrays(data, limit_bytes=len(data))
        wanted = {"words": (vocabulary_size,), "picture": (channels,), "bias": (1,)}
        wanted |= {name: (len(SIGNALS),) for name in ("mean", "deviation", "weights")}
        for name in cls._fields:
            if name not in found or not np.isfinite(found[name]).all():
                raise ValueError(f"its {name} are missing or not finite")
            if found[name].shape != wanted[name]:
                raise ValueError(f"its {name} have the shape {found[name].shape}")
        return cls(**{name: found[name].astype(np.float32) for name in cls._fields})

    def confidence(self, signals: np.ndarray) -> np.ndarray:
        """Signals (n, signals) to confidences (n,), 0 to 1."""
        return 1 / (1 + np.exp(-(self.standardized(signals) @ self.weights + self.bias)))

    def standardized(self, signals: np.ndarray) -> np.ndarray:
        """Signals (n, signals) as deviations from their mean, clipped."""
        return np.clip((signals - self.mean) / self.deviation, -CLIPPED, CLIPPED)


def untrained(vocabulary_size: int, channels: int) -> Calibration:
    """A calibration whose learned signals are zero, from which fitting begins."""
    ones = np.ones(len(SIGNALS), np.float32)
    return Calibration(
        np.zeros(vocabulary_size, np.float32), np.zeros(channels, np.float32), 0 * ones, ones, 0 * ones, np.zeros(1)
    )


def image_channels(entry: Mapping[str, Any]) -> int:
    """Channels of the encoded image of a bundle's captioner."""
    return int(entry["config"]["width"]) * int(entry.get("members", 1))


def signals(captioner: Any, image: tf.Tensor, found: Decoded, calibration: Calibration) -> tf.Tensor:
    """Signals of the best caption of each image; traced.

    Args:
        captioner: a `Captioner` or an `Ensemble`.
        image: encoded (batch, cells, channels).
        found: its captions.
        calibration: its learned signals.

    Returns:
        float32 (batch, signals), in the order of `SIGNALS`.
    """
    wanted = found.tokens[:, 0]
    tokens = tf.concat([tf.fill((tf.shape(wanted)[0], 1), START), wanted[:, :-1]], axis=1)
    said = tf.cast(wanted != PAD, tf.float32)
    count = tf.maximum(tf.reduce_sum(said, axis=1), 1.0)
    logs = tf.nn.log_softmax(captioner.decode(tokens, image, training=False)[0])
    prior = tf.nn.log_softmax(captioner.decode(tokens, _blank(captioner, image), training=False)[0])
    own, blind = (tf.gather(of, wanted, axis=2, batch_dims=2) * said for of in (logs, prior))
    entropy = -tf.reduce_sum(tf.exp(logs) * logs, axis=2) * said
    # Each token counts once, however often it is said: the first place of each.
    same = tf.cast(wanted[:, :, None] == wanted[:, None, :], tf.float32)
    first = said * tf.cast(tf.reduce_sum(tf.linalg.band_part(same, -1, 0), axis=2) == 1.0, tf.float32)
    scores = found.scores
    second = scores[:, 1] if scores.shape[1] != 1 else scores[:, 0]
    return tf.stack(
        [
            scores[:, 0],
            tf.reduce_sum(own - blind, axis=1) / count,
            tf.reduce_min(own, axis=1),
            tf.reduce_sum(entropy, axis=1) / count,
            count,
            tf.minimum(scores[:, 0] - second, 10.0),
            tf.reduce_sum(tf.gather(calibration.words, wanted) * first, axis=1),
            tf.linalg.matvec(tf.reduce_mean(tf.cast(image, tf.float32), axis=1), calibration.picture),
        ],
        axis=1,
    )


def _blank(captioner: Any, image: tf.Tensor) -> tf.Tensor:
    """What the encoder gives of the mean image, (batch, 1, channels): its cells differ by their places alone."""
    rows, columns, channels = captioner.config.grid
    mean = getattr(captioner.encoder, "standardize", None)
    values = tf.zeros((channels,)) if mean is None else tf.convert_to_tensor(mean.mean)
    cells = captioner.encode(tf.broadcast_to(values, (1, rows * columns, channels)), training=False)
    blank = tf.reduce_mean(cells, axis=1, keepdims=True)
    return tf.broadcast_to(blank, (tf.shape(image)[0], 1, image.shape[2]))
