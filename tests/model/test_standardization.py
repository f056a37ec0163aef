import numpy as np
import pytest

from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.standardization import RAREST, FeatureStandardization

pytestmark = pytest.mark.slow


def built(channels: int) -> FeatureStandardization:
    layer = FeatureStandardization()
    layer.build((None, None, channels))
    return layer


def test_it_changes_nothing_until_it_has_adapted() -> None:
    cells = np.random.default_rng(0).random((2, 3, 4), np.float32)
    np.testing.assert_array_equal(built(4)(cells), cells)


def test_channels_get_mean_zero_and_deviation_one() -> None:
    features = np.random.default_rng(0).normal([1.0, -2.0, 30.0], [2.0, 4.0, 3.0], (50, 9, 3)).astype(np.float16)
    layer = built(3)
    layer.adapt(features)
    standard = layer(features.astype(np.float32)).numpy().reshape(-1, 3)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=0.01)


def test_a_channel_that_hardly_fires_is_not_blown_up() -> None:
    features = np.zeros((10, 1, 2), np.float32)
    features[::2, 0, 0] = 2.0  # mean 1, deviation 1; the other channel is always 0
    layer = built(2)
    layer.adapt(features)
    np.testing.assert_allclose(layer.mean, [1.0, 0.0])
    np.testing.assert_allclose(layer.deviation, [1.0, RAREST * 0.5])
    layer.adapt(np.zeros((10, 1, 2), np.float32))
    assert np.isfinite(layer(np.ones((1, 1, 2), np.float32)).numpy()).all()


def test_it_is_stored_but_not_trained() -> None:
    captioner = Captioner(CaptionerConfig((1, 2, 5), 9, max_length=4, width=8, heads=2, feed_forward=8))
    captioner.build()
    stored = {variable.path.split("/", 1)[1] for variable in captioner.weights}
    trained = {variable.path.split("/", 1)[1] for variable in captioner.trainable_variables}
    assert stored - trained == {"encoder/standardize/mean", "encoder/standardize/deviation"}
