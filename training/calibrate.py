"""`beamscribe calibrate`: gives a bundle's captions a confidence, the chance that a caption is acceptable.

A caption is acceptable if its CIDEr-D against what people wrote of the photograph is at least `--acceptable`.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import tensorflow as tf

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.model.bundle import CALIBRATION, Bundle, BundleError, open_bundle, write_bundle
from beamscribe.model.bundle_folder import unwritable
from beamscribe.model.captioning import DecodingOptions, load_captioner
from beamscribe.model.confidence import SIGNALS, Calibration, image_channels, signals, untrained
from beamscribe.model.decoding import search_encoded
from beamscribe.model.freezing import compiled
from beamscribe.model.tokenizer import PAD, UNKNOWN
from beamscribe.storage import whole_files
from beamscribe.training.cider import CiderReward
from beamscribe.training.dataset import FeatureSet, read_features
from beamscribe.training.flags.calibrate import parser
from beamscribe.training.reliability import auroc, bins_of, calibration_error, cross_fitted, logistic, ridge

BATCH = 64
BOUNDS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Bounds of CIDEr: what AUROC would be if captions were acceptable from these on."""
BEST = 2.0
"""CIDEr above which captions count as equally good, where the learned signals are fitted."""
WORDS_PENALTY, PICTURE_PENALTY = 300.0, 1000.0


class Judged(NamedTuple):
    """Captions of photographs, and how good they are.

    Attributes:
        tokens: int (photographs, length), of the best caption of each.
        images: float32 (photographs, channels), means of the encoded images.
        signals: float32 (photographs, signals); those that are learned are zero.
        cider: float (photographs,).
    """

    tokens: np.ndarray
    images: np.ndarray
    signals: np.ndarray
    cider: np.ndarray


def run(argv: Sequence[str]) -> int:
    """Parses, captions, fits, writes the bundle.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    output = os.path.abspath(os.path.expanduser(args.output or args.model))
    if reason := unwritable(output):
        raise RefusedError(f"--output {output} cannot be written: {reason}")
    try:
        bundle = open_bundle(args.model, args.storage_options)
        captioner = load_captioner(bundle)
    except BundleError as error:
        raise RefusedError(f"--model: {error}") from error
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or temporary
        held_out = _read(bundle, args.features, work, args.storage_options)
        learned = _read(bundle, args.learn_from, work, args.storage_options) if args.learn_from else None
        if learned is not None:
            # Spread over all of them, since outputs are read one after another.
            learned = learned.select(np.arange(0, len(learned.ids), -(-len(learned.ids) // args.learn_images)))
        judge = _Judge(bundle, captioner, DecodingOptions(args.beam_size).fitting(bundle), work)
        calibration = untrained(len(bundle.vocabulary()), image_channels(bundle.captioner))
        if learned is not None:
            calibration = learn_signals(calibration, judge(learned))
        judged = with_learned(judge(held_out), calibration)
    right = judged.cider >= args.acceptable
    if not right.any() or right.all():
        raise RefusedError(
            f"{right.sum()} of {len(right)} captions are acceptable (CIDEr of at least {args.acceptable}): give more "
            "--features, or another --acceptable"
        )
    fitted, told, chances = fit(calibration, judged, right)
    told |= {"acceptable_cider": args.acceptable, "beam_size": args.beam_size}
    told["auroc_of_outputs"] = [
        round(auroc(chances[held_out.sources == number], right[held_out.sources == number]), 4)
        for number in sorted(set(held_out.sources.tolist()))
        if len(set(right[held_out.sources == number].tolist())) == 2
    ]
    # What another idea of acceptable would have given.
    told["auroc_of_bounds"] = {
        str(bound): fit(calibration, judged, judged.cider >= bound)[1]["auroc"]
        for bound in BOUNDS
        if 0.02 < (judged.cider >= bound).mean() < 0.98
    }
    calibration = fitted
    description = {name: value for name, value in bundle.config.items() if name not in ("files", "schema_version")}
    files = {**bundle.contents(), CALIBRATION: calibration.to_npz()}
    try:
        write_bundle(output, files, {**description, "confidence": told})
    except OSError as error:
        print(
            f"beamscribe calibrate: stopped: {output} cannot be written: {error}. Run the same command again.",
            file=sys.stderr,
        )
        return STOPPED
    print(
        f"beamscribe calibrate: of {len(right)} captions {right.mean():.0%} are acceptable; AUROC {told['auroc']:.3f} "
        f"(of the score alone {told['auroc_of_score']:.3f}), expected calibration error "
        f"{told['calibration_error']:.3f}; bundle → {output}"
    )
    return DONE


def fit(calibration: Calibration, judged: Judged, right: np.ndarray) -> tuple[Calibration, dict[str, Any], np.ndarray]:
    """The logistic regression, what it is worth on photographs that no fit saw (ten folds), and their chances."""

    def fitted(items: np.ndarray) -> Calibration:
        own = judged.signals[items]
        begun = calibration._replace(
            mean=own.mean(axis=0), deviation=np.maximum(own.std(axis=0), 1e-6).astype(np.float32)
        )
        standard = begun.standardized(own)
        weights, bias = logistic(standard, right[items])
        return begun._replace(weights=weights.astype(np.float32), bias=np.array([bias], np.float32))

    chances = cross_fitted(len(right), lambda items: lambda of: fitted(items).confidence(judged.signals[of]))
    told = {
        "photographs": len(right),
        "acceptable_share": round(float(right.mean()), 4),
        "auroc": round(auroc(chances, right), 4),
        "auroc_of_score": round(auroc(judged.signals[:, SIGNALS.index("score")], right), 4),
        "calibration_error": round(calibration_error(chances, right), 4),
        # Mean chance, share that is acceptable, and number, of tenths by their chance: the points of a plot.
        "tenths": [[round(chance, 4), round(share, 4), count] for chance, share, count in bins_of(chances, right)],
    }
    return fitted(np.arange(len(right))), told, chances


def learn_signals(calibration: Calibration, judged: Judged) -> Calibration:
    """Weights of words and of the encoded image by which the CIDEr of training photographs is foretold."""
    target = np.minimum(judged.cider, BEST)
    words = _presence(judged.tokens, len(calibration.words))
    of_words = ridge(words, target, WORDS_PENALTY)
    images = judged.images - judged.images.mean(axis=0)
    of_images = ridge(scipy.sparse.csr_matrix(images), target, PICTURE_PENALTY)
    return calibration._replace(words=of_words.astype(np.float32), picture=of_images.astype(np.float32))


def with_learned(judged: Judged, calibration: Calibration) -> Judged:
    """With the learned signals filled in, as `beamscribe.model.confidence.signals` computes them."""
    found = judged.signals.copy()
    found[:, SIGNALS.index("words")] = _presence(judged.tokens, len(calibration.words)) @ calibration.words
    found[:, SIGNALS.index("picture")] = judged.images @ calibration.picture
    return judged._replace(signals=found)


def _presence(tokens: np.ndarray, vocabulary_size: int) -> scipy.sparse.csr_matrix:
    """Which tokens each caption has, float32 (captions, vocabulary) of zeros and ones."""
    rows, places = np.nonzero(tokens > UNKNOWN)
    found = scipy.sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, tokens[rows, places])), (len(tokens), vocabulary_size)
    )
    found.data[:] = 1.0
    return found


def words_of(text: str) -> list[int]:
    """A text's words in lower case without punctuation, each as a number that stands for it."""
    return [hash(word) for word in re.findall(r"\w+", text.lower())]


class _Judge:
    """Captions photographs and scores the captions."""

    def __init__(self, bundle: Bundle, captioner: Any, options: DecodingOptions, work: str) -> None:
        from beamscribe.model.tokenizer import Tokenizer

        self._tokenizer = Tokenizer(bundle.vocabulary())
        self._work, self._made_by = work, (bundle.weights_digest, bundle.vocabulary_digest, *options)
        rows, columns, channels = bundle.backbone.grid
        blank = untrained(len(bundle.vocabulary()), image_channels(bundle.captioner))

        def caption(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            image = captioner.encode(features, training=False)
            found = search_encoded(captioner, image, options.beam_size, options.max_length)
            pooled = tf.reduce_mean(tf.cast(image, tf.float32), axis=1)
            return found.tokens[:, 0], pooled, signals(captioner, image, found, blank)

        self._caption = compiled(caption, input_signature=[tf.TensorSpec((None, rows * columns, channels), tf.float16)])

    def __call__(self, features: FeatureSet) -> Judged:
        """Kept in a file of the work folder for the next run."""
        asked = repr((self._made_by, features.ids, features.views.tolist(), features.captions, SIGNALS))
        path = os.path.join(self._work, f"judged-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npz")
        if not os.path.exists(path):
            with whole_files.replacing(path) as file:
                np.savez(file, **self._judged(features)._asdict())
        with np.load(path, allow_pickle=False) as stored:
            return Judged(**{name: stored[name] for name in Judged._fields})

    def _judged(self, features: FeatureSet) -> Judged:
        parts = []
        for start in range(0, len(features.ids), BATCH):
            images = np.arange(start, min(start + BATCH, len(features.ids)))
            found = self._caption(tf.constant(features.inputs(images)))
            parts.append([part.numpy() for part in found])
            if start // BATCH % 20 == 0:
                print(f"beamscribe calibrate: {len(images) + start:,} of {len(features.ids):,}", flush=True)
        tokens, pooled, found = (np.concatenate(column) for column in zip(*parts, strict=True))
        reward = CiderReward([[words_of(text) for text in texts] for texts in features.captions])
        said = self._tokenizer.detokenize(tokens)
        cider = np.array([reward.score(image, words_of(text)) for image, text in enumerate(said)])
        return Judged(np.where(tokens == PAD, 0, tokens), pooled, found, cider)


def _read(bundle: Bundle, outputs: list[str], work: str, options: dict[str, Any]) -> FeatureSet:
    found = read_features(outputs, os.path.join(work, "features"), options)
    if found.weights_digest != bundle.backbone_weights.digest or found.grid != bundle.backbone.grid:
        raise RefusedError(
            f"{outputs[0]} holds features of another backbone or of other weights than the bundle's: "
            f"featurize with {bundle.backbone.name} and its weights"
        )
    return found
