"""Backbones: where weights come from, and what the network gives."""

import argparse
import hashlib
import inspect
import warnings
from pathlib import Path

import fsspec
import h5py
import keras
import numpy as np
import pytest

from beamscribe.model.backbone import BACKBONES, ResolvedWeights, WeightsError, backbone_name, resolve_weights
from beamscribe.model.backbone.network import Backbone, build_backbone, preprocess, weights_path
from beamscribe.model.backbone.spec import INCEPTION_V3

pytestmark = pytest.mark.slow

RANDOM = resolve_weights("random", INCEPTION_V3)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), dtype=np.uint8)


def test_names_lead_to_specs() -> None:
    assert BACKBONES["inception_v3"] == INCEPTION_V3
    assert all(spec.name == name for name, spec in BACKBONES.items())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("InceptionV3", "inception_v3"),
        ("efficientnet_lite2", "efficientnet_lite2"),
        ("EfficientNetLite2", "efficientnet_lite2"),
        ("resnet50_v2", "ResNet50V2"),
        ("ResNet50", "ResNet50"),
    ],
)
def test_capitals_and_underscores_do_not_matter(asked: str, name: str) -> None:
    assert backbone_name(asked) == name


def test_an_unknown_name_is_refused_with_those_near_it() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no backbone is called resnet49.*near: .*ResNet50"):
        backbone_name("resnet49")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inception_v3", [[-1, 0, 1]] * 3),  # scaled to one
        ("efficientnet_lite2", [[-127 / 128, 0.5 / 128, 1]] * 3),
        ("EfficientNetB0", [[0, 127.5, 255]] * 3),  # scales inside
        ("VGG16", [[-103.939, 23.561, 151.061], [-116.779, 10.721, 138.221], [-123.68, 3.82, 131.32]]),  # BGR
    ],
)
def test_pixels_are_scaled_as_the_backbone_was_trained(name: str, expected: list[list[float]]) -> None:
    grey = np.array([0.0, 127.5, 255.0], np.float32)
    scaled = preprocess(BACKBONES[name], np.tile(grey[:, None], (1, 3))[None, None])
    np.testing.assert_allclose(np.transpose(scaled[0, 0]), expected, atol=1e-4)


@pytest.mark.parametrize("source", ["imagenet", "random"])
def test_named_weights_are_no_files(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / source).write_bytes(b"a file of that name")
    resolved = resolve_weights(source, INCEPTION_V3)
    assert resolved.source == source
    assert weights_path(resolved) is None


def test_the_digest_of_random_weights_names_the_seed() -> None:
    assert resolve_weights("random", INCEPTION_V3) == ResolvedWeights("random", "random-0")


@pytest.mark.parametrize("how", ["absolute", "relative", "home", "uri"])
def test_a_file_is_resolved_to_where_it_is_and_its_digest(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = {"absolute": str(path), "relative": "a.weights.h5", "home": "~/a.weights.h5", "uri": f"file://{path}"}[how]
    resolved = resolve_weights(source, INCEPTION_V3)
    assert resolved == ResolvedWeights(source if how == "uri" else str(path), hashlib.sha256(b"abc").hexdigest())
    assert weights_path(resolved) == (None if how == "uri" else str(path))


@pytest.mark.parametrize("source", ["no-such-file.h5", ".", "memory://no-such-file.h5", "nosuchprotocol://a.h5"])
def test_a_file_that_cannot_be_read_is_named(source: str) -> None:
    with pytest.raises(WeightsError, match=f"--backbone-weights {source} cannot be read: ."):
        resolve_weights(source, INCEPTION_V3)


@pytest.mark.slow
def test_features_are_a_grid_and_the_same_in_every_instance() -> None:
    first = Backbone(INCEPTION_V3, RANDOM)
    features = first(PIXELS)
    assert features.shape == (2, *INCEPTION_V3.grid) == (2, 8, 8, 2048)
    assert features.dtype == np.float32
    assert (features >= 0).all()  # after ReLU
    assert np.abs(features[0] - features[1]).max() > 0
    seen = first.model(keras.applications.inception_v3.preprocess_input(PIXELS.astype(np.float32)))
    np.testing.assert_allclose(features, seen, atol=1e-4 * features.max())
    assert first.model.count_params() == 21_802_784  # InceptionV3 without its top, as Keras documents it
    assert not first.model.trainable_weights

    keras.utils.set_random_seed(12345)
    second = Backbone(INCEPTION_V3, RANDOM)
    np.testing.assert_array_equal(second(PIXELS), features)
    np.testing.assert_allclose(second(PIXELS[1:])[0], features[1], atol=1e-6)  # rows do not depend on the batch


def small_model() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("kind", ["other layers", "other shapes", "legacy", "no HDF5", "cut", "missing", "suffix"])
def test_weights_that_do_not_fit_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("small.h5" if kind == "legacy" else "small.weights.h5")
    if kind == "other layers":
        small_model().save_weights(path)
    elif kind == "legacy":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small_model().save(path)
    elif kind == "other shapes":
        # The same network for grey pictures: every layer is there, the first one's kernel has another shape.
        keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(299, 299, 1)).save_weights(path)
    elif kind == "no HDF5":
        path.write_bytes(b"<html>not found</html>")
    elif kind == "cut":
        small_model().save_weights(path)
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "suffix":
        path = tmp_path / "weights.bin"
        path.write_bytes(b"x")
    with pytest.raises(WeightsError, match=f"weights {path} do not fit inception_v3 without its top: .+; give"):
        build_backbone(INCEPTION_V3, ResolvedWeights(str(path), "digest"))


def test_remote_weights_that_are_gone_are_refused() -> None:
    with pytest.raises(WeightsError, match="memory://gone.weights.h5"):
        build_backbone(INCEPTION_V3, ResolvedWeights("memory://gone.weights.h5", "digest"))


def first_kernel(path: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file["layers/conv2d/vars/0"][()]


@pytest.mark.slow
def test_the_real_weights_are_loaded(inception_weights: str) -> None:
    weights = resolve_weights(inception_weights, INCEPTION_V3)
    assert weights.source == inception_weights
    backbone = Backbone(INCEPTION_V3, weights)
    first = next(layer for layer in backbone.model.layers if isinstance(layer, keras.layers.Conv2D))
    np.testing.assert_array_equal(first.kernel.numpy(), first_kernel(inception_weights))
    features = backbone(PIXELS)
    assert features.shape == (2, 8, 8, 2048)
    assert (features == 0).mean() > 0.5  # trained features are sparse, random ones are not
    assert np.isfinite(features.astype(np.float16)).all()
    np.testing.assert_array_equal(build_backbone(INCEPTION_V3, weights).get_weights()[0], first.kernel.numpy())


def test_remote_weights_are_loaded(inception_weights: str) -> None:
    fsspec.filesystem("memory").pipe("/remote.weights.h5", Path(inception_weights).read_bytes())
    try:
        weights = resolve_weights("memory://remote.weights.h5", INCEPTION_V3)
        kernel = build_backbone(INCEPTION_V3, weights).get_weights()[0]
    finally:
        fsspec.filesystem("memory").rm("/remote.weights.h5")
    np.testing.assert_array_equal(kernel, first_kernel(inception_weights))


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV3Large", "VGG16", "ResNet50", "EfficientNetB0"])
def test_a_network_of_keras_gives_the_grid_of_its_spec(name: str) -> None:
    assert build_backbone(BACKBONES[name], RANDOM).output_shape[1:] == BACKBONES[name].grid


def test_every_network_of_keras_has_a_spec() -> None:
    networks = {name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))}
    assert networks - BACKBONES.keys() == {"InceptionV3"}
