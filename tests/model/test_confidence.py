"""Signals of a caption, against sums done by hand, and the confidence in a bundle."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.bundle import CALIBRATION, VOCABULARY, WEIGHTS, Bundle, BundleError, write_bundle
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.captioning import CaptionWriter, DecodingOptions
from beamscribe.model.confidence import SIGNALS, Calibration, image_channels, signals, untrained
from beamscribe.model.decoding import search_encoded
from beamscribe.model.tokenizer import PAD, RESERVED, START

TOKENS = [*RESERVED, *"abcdefgh", "##s", "dog", "cat"]
CONFIG = CaptionerConfig((8, 8, 2048), len(TOKENS), max_length=10, width=16, heads=2, feed_forward=16)
FEATURES = np.random.default_rng(0).exponential(size=(5, 64, 2048)).astype(np.float16)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    captioner = Captioner(CONFIG)
    captioner.build()
    generator = np.random.default_rng(1)
    for weight in captioner.trainable_variables:
        weight.assign(generator.normal(float(weight.path.endswith("gamma")), 0.3, weight.shape).astype(np.float16))
    captioner.adapt(FEATURES)
    return captioner


def calibration() -> Calibration:
    random = np.random.default_rng(2)
    blank = untrained(len(TOKENS), CONFIG.width)
    return Calibration(*(random.normal(size=array.shape).astype(np.float32) for array in blank))._replace(
        deviation=np.ones(len(SIGNALS), np.float32)
    )


def test_signals_are_what_they_say(captioner: Captioner) -> None:
    image = captioner.encode(tf.constant(FEATURES))
    found = search_encoded(captioner, image, 3, 6)
    of = calibration()
    values = signals(captioner, image, found, of).numpy()
    for number, row in enumerate(found.tokens[:, 0].numpy()):
        said = row[row != PAD]
        tokens = tf.constant([[START, *said[:-1]]])
        logs = tf.nn.log_softmax(captioner((FEATURES[number : number + 1], tokens)))[0].numpy()
        own = logs[np.arange(len(said)), said]
        expected = {
            "score": own.mean(),
            "least": own.min(),
            "entropy": -(np.exp(logs) * logs).sum(axis=1).mean(),
            "length": len(said),
            "spread": found.scores[number, 0] - found.scores[number, 1],
            "words": sum(of.words[token] for token in set(said.tolist())),
            "picture": image[number].numpy().mean(axis=0) @ of.picture,
        }
        told = dict(zip(SIGNALS, values[number], strict=True))
        assert told == pytest.approx({**expected, "information": told["information"]}, abs=2e-3)
    # The mean image itself tells nothing that the mean image does not, but for the places of its cells.
    mean = np.broadcast_to(captioner.encoder.standardize.mean.numpy(), (1, 64, 2048)).astype(np.float32)
    blank = captioner.encode(tf.constant(mean))
    nothing = signals(captioner, blank, search_encoded(captioner, blank, 3, 6), of).numpy()
    information = SIGNALS.index("information")
    assert abs(nothing[0, information]) < np.abs(values[:, information]).mean()


def bundle(path: Path, captioner: Captioner, calibrated: bytes) -> Bundle:
    config = {
        "backbone": {"name": "inception_v3", "weights": "random", "digest": "random-0", "file": None},
        "captioner": captioner.get_config(),
    }
    files = {WEIGHTS: weights.to_npz(captioner), VOCABULARY: "".join(f"{token}\n" for token in TOKENS).encode()}
    return write_bundle(str(path), {**files, CALIBRATION: calibrated}, config)


def test_a_calibrated_bundle_gives_its_best_captions_a_confidence(captioner: Captioner, tmp_path: Path) -> None:
    of = calibration()
    opened = bundle(tmp_path / "bundle", captioner, of.to_npz())
    assert image_channels(opened.captioner) == CONFIG.width
    assert len(opened.calibration_digest) == 64
    written = CaptionWriter(opened, DecodingOptions(3, 6)).caption_features(FEATURES.reshape(5, 8, 8, 2048))
    image = captioner.encode(tf.constant(FEATURES))
    expected = of.confidence(signals(captioner, image, search_encoded(captioner, image, 3, 6), of).numpy())
    assert [captions[0].confidence for captions in written] == pytest.approx(expected.tolist(), abs=1e-3)
    assert all(0 < captions[0].confidence < 1 for captions in written)
    assert {other.confidence for captions in written for other in captions[1:]} == {None}


def test_a_calibration_of_another_captioner_is_refused(captioner: Captioner, tmp_path: Path) -> None:
    other = untrained(len(TOKENS) + 1, CONFIG.width)
    wrong = calibration()._replace(weights=np.full(len(SIGNALS), np.nan))
    for number, (calibrated, why) in enumerate(((other.to_npz(), "words have the shape"), (wrong.to_npz(), "finite"))):
        with pytest.raises(BundleError, match=f"does not fit.*{why}.*calibrate the bundle again"):
            CaptionWriter(bundle(tmp_path / str(number), captioner, calibrated), DecodingOptions(3, 6))
    assert untrained(7, 3).confidence(np.zeros((2, len(SIGNALS)))).tolist() == [0.5, 0.5]
