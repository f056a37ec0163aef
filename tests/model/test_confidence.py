"""Signals of a caption, against sums done by hand, and the confidence in a bundle."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.bundle import CALIBRATION, VOCABULARY, WEIGHTS, Bundle, BundleError, write_bundle
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.captioning import CaptionWriter, DecodingOptions
from beamscribe.model.confidence import (
    NEAREST,
    SIGNALS,
    Calibration,
    described,
    products,
    signals,
    untrained,
)
from beamscribe.model.decoding import search_encoded
from beamscribe.model.tokenizer import PAD, RESERVED, START

pytestmark = pytest.mark.slow

TOKENS = [*RESERVED, *"abcdefgh", "##s", "dog", "cat"]
CHANNELS = 2048
CONFIG = CaptionerConfig((8, 8, CHANNELS), len(TOKENS), max_length=10, width=16, heads=2, feed_forward=16)
FEATURES = np.random.default_rng(0).exponential(size=(5, 64, CHANNELS)).astype(np.float16)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    captioner = Captioner(CONFIG)
    captioner.build()
    generator = np.random.default_rng(1)
    for weight in captioner.trainable_variables:
        weight.assign(generator.normal(float(weight.path.endswith("gamma")), 0.3, weight.shape).astype(np.float16))
    captioner.adapt(FEATURES)
    return captioner


COMPONENTS, LEARNED = 3, 7


def calibration() -> Calibration:
    random = np.random.default_rng(2)
    centre, spread = random.exponential(size=(2, CHANNELS)).astype(np.float32) + 0.5
    directions = random.normal(size=(CHANNELS, COMPONENTS)).astype(np.float16)
    learned = random.normal(size=(LEARNED, COMPONENTS))
    photographs = (learned / np.linalg.norm(learned, axis=1, keepdims=True)).astype(np.float16)
    tokens = np.array([14, 5, 9], np.int32)
    rarity, scales, offsets = random.exponential(size=(3, len(tokens))).astype(np.float32)
    inputs = CHANNELS + COMPONENTS * (COMPONENTS + 1) // 2
    slopes = random.normal(0, 0.5, (inputs, len(tokens))).astype(np.float16)
    mean, weights = random.normal(size=(2, len(SIGNALS))).astype(np.float32)
    ones = np.ones(len(SIGNALS), np.float32)
    predictor = (centre, spread, directions, photographs, tokens, rarity, slopes, scales, offsets)
    return Calibration(*predictor, mean, ones, weights, np.array([0.3], np.float32))


def test_signals_are_what_they_say(captioner: Captioner) -> None:
    image = captioner.encode(tf.constant(FEATURES))
    found = search_encoded(captioner, image, 3, 6)
    of = calibration()
    values = signals(captioner, tf.constant(FEATURES), image, found, of).numpy()
    for number, row in enumerate(found.tokens[:, 0].numpy()):
        said = row[row != PAD]
        tokens = tf.constant([[START, *said[:-1]]])
        logs = tf.nn.log_softmax(captioner((FEATURES[number : number + 1], tokens)))[0].numpy()
        of_tokens = logs[np.arange(len(said)), said]
        vector = (np.sqrt(FEATURES[number].astype(np.float32).mean(axis=0)) - of.centre) / of.spread
        vector /= np.linalg.norm(vector)
        main = vector @ of.directions.astype(np.float32)
        pairs = [
            main[first] * main[second] * (np.sqrt(0.5) if first == second else 1)
            for first in range(COMPONENTS)
            for second in range(first, COMPONENTS)
        ]
        predicted = np.concatenate([vector, pairs]) @ (of.slopes.astype(np.float32) * of.scales)
        predicted = np.maximum(predicted + of.offsets, 0)
        cosines = of.photographs.astype(np.float32) @ main / np.linalg.norm(main)
        own = np.where(np.isin(of.tokens, said), of.rarity, 0)
        expected = {
            "score": of_tokens.mean(),
            "least": of_tokens.min(),
            "entropy": -(np.exp(logs) * logs).sum(axis=1).mean(),
            "length": len(said),
            "spread": found.scores[number, 0] - found.scores[number, 1],
            "agreement": predicted @ own / max(np.linalg.norm(own), 1e-6),
            "definiteness": np.linalg.norm(predicted),
            "nearness": np.sort(cosines)[-NEAREST:].mean(),
        }
        told = dict(zip(SIGNALS, values[number], strict=True))
        assert told == pytest.approx({**expected, "information": told["information"]}, abs=2e-3, rel=2e-3)
    assert (values[:, SIGNALS.index("agreement")] > 0).any()
    # The mean image itself tells nothing that the mean image does not, but for the places of its cells.
    mean = np.broadcast_to(captioner.encoder.standardize.mean.numpy(), (1, 64, 2048)).astype(np.float32)
    blank = captioner.encode(tf.constant(mean))
    nothing = signals(captioner, tf.constant(mean), blank, search_encoded(captioner, blank, 3, 6), of).numpy()
    information = SIGNALS.index("information")
    assert abs(nothing[0, information]) < np.abs(values[:, information]).mean()


def bundle(path: Path, captioner: Captioner, calibrated: bytes) -> Bundle:
    config = {
        "backbone": {"name": "inception_v3", "weights": "random", "digest": "random-0", "file": None},
        "captioner": captioner.get_config(),
    }
    files = {WEIGHTS: weights.to_npz(captioner), VOCABULARY: "".join(f"{token}\n" for token in TOKENS).encode()}
    return write_bundle(str(path), {**files, CALIBRATION: calibrated}, config)


@pytest.mark.slow
def test_a_calibrated_bundle_gives_its_best_captions_a_confidence(captioner: Captioner, tmp_path: Path) -> None:
    of = calibration()
    opened = bundle(tmp_path / "bundle", captioner, of.to_npz())
    assert len(opened.calibration_digest) == 64
    written = CaptionWriter(opened, DecodingOptions(3, 6)).caption_features(FEATURES.reshape(5, 8, 8, 2048))
    image = captioner.encode(tf.constant(FEATURES))
    expected = of.confidence(
        signals(captioner, tf.constant(FEATURES), image, search_encoded(captioner, image, 3, 6), of).numpy()
    )
    assert [captions[0].confidence for captions in written] == pytest.approx(expected.tolist(), abs=1e-3)
    assert all(0 < captions[0].confidence < 1 for captions in written)
    assert {other.confidence for captions in written for other in captions[1:]} == {None}


def test_a_calibration_of_another_captioner_is_refused(captioner: Captioner, tmp_path: Path) -> None:
    of = calibration()
    cases = (
        (untrained(CHANNELS + 1), "centre have the shape"),
        (of._replace(directions=of.directions[:, 1:]), "photographs have the shape"),
        (of._replace(slopes=of.slopes[1:]), "slopes have the shape"),
        (of._replace(directions=np.float16(1)), "directions have the shape"),
        (of._replace(spread=0 * of.spread), "spread is not above zero"),
        (of._replace(weights=np.full(len(SIGNALS), np.nan)), "finite"),
        (of._replace(tokens=of.tokens + np.int32(1)), "tokens are not all among the 15"),
        (of._replace(rarity=of.rarity[1:]), "rarity have the shape"),
    )
    for number, (other, why) in enumerate(cases):
        calibrated = other.to_npz()
        with pytest.raises(BundleError, match=f"does not fit.*{why}.*calibrate the bundle again"):
            CaptionWriter(bundle(tmp_path / str(number), captioner, calibrated), DecodingOptions(3, 6))
    assert untrained(3).confidence(np.zeros((2, len(SIGNALS)))).tolist() == [0.5, 0.5]


def test_products_are_half_the_square_of_what_the_components_have() -> None:
    one, other = np.random.default_rng(3).normal(size=(2, 1, 5)).astype(np.float32)
    both = (products(tf.constant(one)).numpy() * products(tf.constant(other)).numpy()).sum()
    assert both == pytest.approx(((one * other).sum()) ** 2 / 2, rel=1e-5)


def test_features_below_zero_and_images_of_zeros_are_described() -> None:
    of = calibration()._replace(centre=np.zeros(CHANNELS, np.float32), spread=np.ones(CHANNELS, np.float32))
    inputs, components = described(of, tf.constant(np.concatenate([-FEATURES[:1], FEATURES[:1], 0 * FEATURES[:1]])))
    assert inputs[0, :CHANNELS].numpy() == pytest.approx(-inputs[1, :CHANNELS].numpy(), abs=1e-6)
    assert components[0].numpy() == pytest.approx(-components[1].numpy(), abs=1e-5)
    assert not inputs[2].numpy().any()
    assert not components[2].numpy().any()
