"""`beamscribe calibrate`: gives a bundle's captions a confidence, the chance that a caption is acceptable.

A caption is acceptable if its CIDEr-D against what people wrote of the photograph is at least `--acceptable`.
"""

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.model.bundle import CALIBRATION, Bundle, BundleError, open_bundle, write_bundle
from beamscribe.model.bundle_folder import unwritable
from beamscribe.model.captioning import DecodingOptions, load_captioner
from beamscribe.model.confidence import SIGNALS, Calibration, signals, untrained
from beamscribe.model.decoding import search_encoded
from beamscribe.model.freezing import compiled
from beamscribe.model.tokenizer import Tokenizer
from beamscribe.training.cider import CiderReward
from beamscribe.training.dataset import FeatureSet, read_features
from beamscribe.training.flags.calibrate import parser
from beamscribe.training.reliability import auroc, bins_of, calibration_error, cross_fitted, logistic
from beamscribe.training.token_predictor import learn_tokens

BATCH = 64
BOUNDS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Bounds of CIDEr: what AUROC would be if captions were acceptable from these on."""


class Judged(NamedTuple):
    """Captions of photographs, and how good they are.

    Attributes:
        signals: float32 (photographs, signals).
        cider: float (photographs,).
    """

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
        calibration, tokenizer = untrained(held_out.grid[2]), Tokenizer(bundle.vocabulary())
        options = DecodingOptions(args.beam_size).fitting(bundle)
        if learned is not None:
            calibration = learn_tokens(calibration, learned, tokenizer)
            print(f"beamscribe calibrate: features predict {len(calibration.tokens):,} tokens", flush=True)
        judged = judge(captioner, tokenizer, calibration, held_out, options)
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


def words_of(text: str) -> list[int]:
    """A text's words in lower case without punctuation, each as a number that stands for it."""
    return [hash(word) for word in re.findall(r"\w+", text.lower())]


def judge(
    captioner: Any, tokenizer: Tokenizer, calibration: Calibration, features: FeatureSet, options: DecodingOptions
) -> Judged:
    """Captions photographs and scores the captions.

    Args:
        captioner: a `Captioner` or an `Ensemble`.
        tokenizer: its own.
        calibration: what predicts tokens.
        features: of photographs with references.
        options: how to search.
    """
    cells, channels = features.features.shape[1:]

    def caption(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = captioner.encode(features, training=False)
        found = search_encoded(captioner, image, options.beam_size, options.max_length)
        return found.tokens[:, 0], signals(captioner, features, image, found, calibration)

    traced = compiled(caption, input_signature=[tf.TensorSpec((None, cells, channels), tf.float16)])
    tokens, found = [], []
    for start in range(0, len(features.ids), BATCH):
        images = np.arange(start, min(start + BATCH, len(features.ids)))
        said, told = traced(tf.constant(features.inputs(images)))
        tokens.append(said.numpy())
        found.append(told.numpy())
        if start // BATCH % 20 == 0:
            print(f"beamscribe calibrate: {len(images) + start:,} of {len(features.ids):,}", flush=True)
    reward = CiderReward([[words_of(text) for text in texts] for texts in features.captions])
    captions = tokenizer.detokenize(np.concatenate(tokens))
    cider = np.array([reward.score(image, words_of(text)) for image, text in enumerate(captions)])
    return Judged(np.concatenate(found), cider)


def _read(bundle: Bundle, outputs: list[str], work: str, options: dict[str, Any]) -> FeatureSet:
    found = read_features(outputs, os.path.join(work, "features"), options)
    if found.weights_digest != bundle.backbone_weights.digest or found.grid != bundle.backbone.grid:
        raise RefusedError(
            f"{outputs[0]} holds features of another backbone or of other weights than the bundle's: "
            f"featurize with {bundle.backbone.name} and its weights"
        )
    return found
