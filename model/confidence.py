"""How sure a captioner may be of a caption: signals of its own, weighed so that they say how often it is right.

The signals cost one pass over the best caption with the image and one without. A logistic regression (Platt 1999) on
them, fitted by `beamscribe calibrate` on photographs that training did not see, makes them a chance: of captions with
confidence 0.7, seven in ten are acceptable.
"""

import io
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from beamscribe.model.decoding import Decoded
from beamscribe.model.npz import read_arrays
from beamscribe.model.tokenizer import PAD, START

SIGNALS = ("score", "information", "least", "entropy", "length", "spread", "agreement", "definiteness", "nearness")
"""
score: mean log probability of the tokens.
information: mean of log p(token | image) minus log p(token | mean image): how much the image matters.
least: log probability of the least probable token.
entropy: mean entropy of the tokens' distributions, in nats.
length: number of tokens.
spread: score of the best caption minus that of the second; 0 with a beam of one.
agreement: how much of the caption's words a linear model predicts from the features, see `Calibration`.
definiteness: how much that model predicts at all.
nearness: mean cosine between the image and the photographs most like it among those that the model learned from.
"""

NEAREST = 5
"""Photographs that `nearness` is of."""

CLIPPED = 4.0
"""Standardised signals beyond this count as this: what is far from all that was measured must not decide alone."""


class Calibration(NamedTuple):
    """What makes signals a confidence.

    A linear model predicts from a vector of the image, and from products of its main components, how much weight each
    token has in what people would write: the mean of the references' unit vectors of inverse document frequencies, as
    CIDEr has them (Vedantam et al. 2015, arXiv:1411.5726), of single tokens. Its product with the caption's own vector
    is `agreement`, its length `definiteness`. It sees what is in the picture and knows no sentences; the captioner is
    the other way.

    Attributes:
        centre: float32 (channels,), subtracted from the square roots of an image's features, see `described`.
        spread: float32 (channels,), by which they are divided then.
        directions: float16 (channels, components), of the main components.
        photographs: float16 (photographs, components), unit vectors of those that the model learned from.
        tokens: int32 (known,), ids of the tokens that it predicts; none where nothing was learned.
        rarity: float32 (known,), their inverse document frequencies.
        slopes: float16 (channels + components × (components + 1) / 2, known), each column divided by its scale, since
            float16 is coarse near zero.
        scales: float32 (known,).
        offsets: float32 (known,).
        mean: float32 (signals,), to standardise them.
        deviation: the same.
        weights: float32 (signals,), of the logistic regression.
        bias: float32 (1,).
    """

    centre: np.ndarray
    spread: np.ndarray
    directions: np.ndarray
    photographs: np.ndarray
    tokens: np.ndarray
    rarity: np.ndarray
    slopes: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def to_npz(self) -> bytes:
        """As the bytes of an `.npz` file."""
        buffer = io.BytesIO()
        # All of them are floats in the file; those of 32 bits hold every id of a token.
        arrays: dict[str, Any] = {
            name: np.asarray(value, np.float16 if name in _HALVES else np.float32)
            for name, value in self._asdict().items()
        }
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, data: bytes, vocabulary_size: int, channels: int) -> "Calibration":
        """What `to_npz` gave.

        Args:
            data: the file.
            vocabulary_size: of the captioner.
            channels: of the features.

        Raises:
            ValueError: if arrays are missing, of other shapes or not finite.
        """
        found: dict[str, np.ndarray] = {}
        # What is beyond the halves is infinite, and refused.
        with np.errstate(over="ignore"):
            for name, value in read_arrays(data, limit_bytes=len(data)).items():
                found[name] = value.astype(np.float16 if name in _HALVES else np.float32)
        known = found["tokens"].shape[:1] if "tokens" in found else (0,)
        components = (0, *found["directions"].shape)[-1] if "directions" in found else 0
        wanted = dict.fromkeys(("tokens", "rarity", "scales", "offsets"), known)
        wanted |= {name: (len(SIGNALS),) for name in ("mean", "deviation", "weights")}
        wanted |= {"centre": (channels,), "spread": (channels,), "directions": (channels, components), "bias": (1,)}
        wanted |= {"slopes": (channels + components * (components + 1) // 2, *known)}
        wanted |= {"photographs": (*found["photographs"].shape[:1], components)} if "photographs" in found else {}
        for name in cls._fields:
            if name not in found or not np.isfinite(found[name]).all():
                raise ValueError(f"its {name} are missing or not finite")
            if found[name].shape != wanted[name]:
                raise ValueError(f"its {name} have the shape {found[name].shape}")
        if not ((found["tokens"] >= 0) & (found["tokens"] < vocabulary_size)).all():
            raise ValueError(f"its tokens are not all among the {vocabulary_size} of the vocabulary")
        if not (found["spread"] > 0).all():
            raise ValueError("its spread is not above zero")
        return cls(**{**{name: found[name] for name in cls._fields}, "tokens": found["tokens"].astype(np.int32)})

    def confidence(self, signals: np.ndarray) -> np.ndarray:
        """Signals (n, signals) to confidences (n,), 0 to 1."""
        return 1 / (1 + np.exp(-(self.standardized(signals) @ self.weights + self.bias)))

    def standardized(self, signals: np.ndarray) -> np.ndarray:
        """Signals (n, signals) as deviations from their mean, clipped."""
        return np.clip((signals - self.mean) / self.deviation, -CLIPPED, CLIPPED)


_HALVES = frozenset(("slopes", "directions", "photographs"))
"""Arrays of float16."""


def untrained(channels: int) -> Calibration:
    """A calibration that predicts no token, from which fitting begins."""
    ones, none = np.ones(len(SIGNALS), np.float32), np.zeros(0, np.float32)
    ids, each = none.astype(np.int32), np.ones(channels, np.float32)
    directions, photographs, slopes = (np.zeros(shape, np.float16) for shape in ((channels, 0), (0, 0), (channels, 0)))
    predictor = (0 * each, each, directions, photographs, ids, none, slopes, none, none)
    return Calibration(*predictor, 0 * ones, ones, 0 * ones, np.zeros(1))


def rooted(features: tf.Tensor) -> tf.Tensor:
    """Features (batch, cells, channels) to their means over the cells, float32 (batch, channels); traced.

    Of these the square roots, with their signs: without it few large channels decide how like two images are.
    """
    means = tf.reduce_mean(tf.cast(features, tf.float32), axis=1)
    return tf.sign(means) * tf.sqrt(tf.abs(means))


def products(components: tf.Tensor) -> tf.Tensor:
    """Products of each two of (batch, components), so that their own product is half the square of these; traced."""
    count: Any = components.shape[1]
    first, second = np.triu_indices(count)
    factors = np.where(first == second, np.sqrt(0.5), 1.0).astype(np.float32)
    return tf.gather(components, first, axis=1) * tf.gather(components, second, axis=1) * factors


def described(calibration: Calibration, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What a calibration makes of images; traced.

    The exponential of the cosine of two images, of which the vector and its products are the first terms, predicts
    better than the cosine alone: see docs/quality.md.

    Args:
        calibration: whose `centre`, `spread` and `directions` are used.
        features: (batch, cells, channels).

    Returns:
        The unit vectors with the products of their components, float32 (batch, channels + components × (components + 1)
        / 2), and the components as unit vectors, float32 (batch, components).
    """
    vectors = tf.math.l2_normalize((rooted(features) - calibration.centre) / calibration.spread, axis=1)
    components = tf.matmul(vectors, calibration.directions.astype(np.float32))
    return tf.concat([vectors, products(components)], axis=1), tf.math.l2_normalize(components, axis=1)


def signals(
    captioner: Any, features: tf.Tensor, image: tf.Tensor, found: Decoded, calibration: Calibration
) -> tf.Tensor:
    """Signals of the best caption of each image; traced.

    Args:
        captioner: a `Captioner` or an `Ensemble`.
        features: (batch, cells, channels).
        image: encoded (batch, cells, channels).
        found: its captions.
        calibration: what predicts tokens.

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
            *_predicted(calibration, features, wanted, first),
        ],
        axis=1,
    )


def _predicted(
    calibration: Calibration, features: tf.Tensor, tokens: tf.Tensor, first: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`agreement`, `definiteness` and `nearness` of captions, each float32 (batch,).

    Args:
        calibration: what predicts tokens.
        features: (batch, cells, channels).
        tokens: of the captions, (batch, length).
        first: 1 where a token stands for the first time in its caption, else 0.
    """
    inputs, components = described(calibration, features)
    known = len(calibration.tokens)
    # The last column, a zero, is that of all other tokens.
    columns = np.full(int(max(calibration.tokens, default=0)) + 1, known, np.int32)
    columns[calibration.tokens] = np.arange(known, dtype=np.int32)
    places = tf.where(tokens < len(columns), tf.gather(columns, tf.minimum(tokens, len(columns) - 1)), known)
    slopes = calibration.slopes.astype(np.float32) * calibration.scales
    weight = tf.nn.relu(tf.matmul(inputs, slopes) + calibration.offsets)
    own = tf.gather(np.append(calibration.rarity, np.float32(0)), places) * first
    said = tf.gather(tf.pad(weight, [[0, 0], [0, 1]]), places, axis=1, batch_dims=1)
    agreement = tf.reduce_sum(said * own, axis=1) / tf.maximum(tf.norm(own, axis=1), 1e-6)
    return agreement, tf.norm(weight, axis=1), _nearness(calibration, components)


def _nearness(calibration: Calibration, components: tf.Tensor) -> tf.Tensor:
    if not len(calibration.photographs):
        return tf.zeros(tf.shape(components)[:1])
    cosines = tf.matmul(components, calibration.photographs.astype(np.float32), transpose_b=True)
    return tf.reduce_mean(tf.math.top_k(cosines, min(NEAREST, len(calibration.photographs)))[0], axis=1)


def _blank(captioner: Any, image: tf.Tensor) -> tf.Tensor:
    """What the encoder gives of the mean image, (batch, 1, channels): its cells differ by their places alone."""
    rows, columns, channels = captioner.config.grid
    mean = getattr(captioner.encoder, "standardize", None)
    values = tf.zeros((channels,)) if mean is None else tf.convert_to_tensor(mean.mean)
    cells = captioner.encode(tf.broadcast_to(values, (1, rows * columns, channels)), training=False)
    blank = tf.reduce_mean(cells, axis=1, keepdims=True)
    return tf.broadcast_to(blank, (tf.shape(image)[0], 1, image.shape[2]))
