"""EfficientNet-Lite2: against features of the original, and its weights' way to a file and back."""

import io
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from beamscribe.model.backbone.efficientnet_lite import (
    LEVELS,
    STAGES,
    Stage,
    build_efficientnet_lite,
    dump_weights,
    load_weights,
)
from beamscribe.model.backbone.network import Backbone, build_backbone
from beamscribe.model.backbone.spec import (
    BACKBONES,
    EFFICIENTNET_LITE2,
    EFFICIENTNET_LITE2_LEVELS,
    WeightsError,
    resolve_weights,
)

pytestmark = pytest.mark.slow

SMALL = (Stage(1, 3, 1, 1, 8), Stage(2, 5, 2, 6, 16))


def small(seed: int) -> keras.Model:
    """A short network of the same kind, with a weight of its own everywhere."""
    model = build_efficientnet_lite(SMALL, (32, 32))
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.5, 1.5, weight.shape).astype(np.float16) for weight in model.get_weights()])
    return model


def test_weights_come_back_from_a_file() -> None:
    model, other = small(0), small(1)
    data = dump_weights(model)
    load_weights(other, data)
    for args, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(args, theirs)
    assert dump_weights(other) == data
    with np.load(io.BytesIO(data)) as stored:
        assert stored["_blocks.1._depthwise_conv.weight"].shape == (48, 1, 5, 5)
        assert stored["_blocks.1._project_conv.weight"].shape == (16, 48, 1, 1)
        assert stored["_conv_stem.weight"].dtype == np.float16


def test_each_kernel_has_its_own_place_and_direction() -> None:
    # A kernel that is 1 in one place alone shifts the picture: PyTorch's (out, in, y, x) against Keras's layout.
    model = build_efficientnet_lite((), (8, 8))
    arrays = dict(np.load(io.BytesIO(dump_weights(model))))
    kernel = np.zeros((32, 3, 3, 3), np.float16)
    kernel[5, 1, 0, 2] = 1  # out 5, green, the row above, the column to the right
    arrays["_conv_stem.weight"] = kernel
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    load_weights(model, buffer.getvalue())
    stem = keras.Model(model.input, model.get_layer("_conv_stem").output)
    picture = np.random.default_rng(0).random((1, 8, 8, 3)).astype(np.float32)
    # Stride 2 with TensorFlow's "same" padding of an even side: nothing before, one after.
    expected = np.pad(picture, ((0, 0), (0, 1), (0, 1), (0, 0)))[0, 0:8:2, 2:10:2, 1]
    np.testing.assert_allclose(stem(picture)[0, :, :, 5], expected, rtol=1e-6)


def test_the_classifier_is_left_aside() -> None:
    model = small(0)
    arrays = dict(np.load(io.BytesIO(dump_weights(model))))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{"_fc.weight": np.zeros((10, 1280)), "_fc.bias": np.zeros(10)})
    load_weights(model, buffer.getvalue())
    assert dump_weights(model) == dump_weights(small(0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>not found</html>", "give an .npz"),
        (dump_weights(small(0)), "names differ, such as"),
        (dump_weights(small(0))[:2000], "give an .npz"),
    ],
    ids=["no archive", "another network", "cut"],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"weights {path} do not fit efficientnet_lite2 without its top: .*{reason}"):
        build_backbone(EFFICIENTNET_LITE2, resolve_weights(str(path), EFFICIENTNET_LITE2))


def test_shapes_are_those_of_the_spec() -> None:
    for spec, levels in ((EFFICIENTNET_LITE2, ()), (EFFICIENTNET_LITE2_LEVELS, LEVELS)):
        assert build_efficientnet_lite(STAGES, spec.input_size, levels).output_shape[1:] == spec.grid


@pytest.mark.slow
def test_levels_come_before_the_same_features_and_know_colours() -> None:
    """One half of the picture is red, the other blue, and the lowest level tells them apart."""
    pixels = np.full((1, 260, 260, 3), (220, 20, 20), np.uint8)
    pixels[:, :, 130:] = (20, 20, 220)
    plain, rich = (
        Backbone(spec, resolve_weights("imagenet", spec))(pixels)
        for spec in (EFFICIENTNET_LITE2, EFFICIENTNET_LITE2_LEVELS)
    )
    np.testing.assert_allclose(rich[..., -1280:], plain, atol=1e-4)
    lowest = rich[0, :, :, :24]
    inside, across = np.abs(lowest[4, 1] - lowest[4, 2]).max(), np.abs(lowest[4, 1] - lowest[4, 7]).max()
    assert across > 20 * inside


def test_features_are_those_of_the_original() -> None:
    shared = os.environ.get("BEAMSCRIBE_SHARED") or Path(__file__).resolve().parents[2].parent / "shared"
    weights = Path(shared, "weights", "efficientnet_lite2.npz")
    if not weights.is_file():
        pytest.skip(f"{weights} is not there; set BEAMSCRIBE_SHARED to the folder that holds weights/")
    golden = np.load(weights.with_name("efficientnet_lite2_golden.npz"))
    backbone = Backbone(BACKBONES["efficientnet_lite2"], resolve_weights(str(weights), EFFICIENTNET_LITE2))
    difference = backbone(golden["pixels"]) - golden["features"]
    # Float16 kernels against float32 ones: 0.8 % was measured.
    assert np.linalg.norm(difference) < 0.01 * np.linalg.norm(golden["features"])
