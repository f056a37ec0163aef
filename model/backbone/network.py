"""Backbones as Keras models, to be trained on or frozen for an engine."""

import difflib
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model.backbone.efficientnet_lite import (
    LEVELS,
    STAGES,
    build_efficientnet_lite,
    dump_weights,
    load_weights,
)
from beamscribe.model.backbone.spec import (
    EFFICIENTNET_LITE2_LEVELS,
    IMAGENET,
    INCEPTION_V3,
    LITE2,
    RANDOM,
    RANDOM_SEED,
    BackboneSpec,
    ResolvedWeights,
    WeightsError,
)
from beamscribe.model.backbone.weights_file import refuse_odd_weights
from beamscribe.model.freezing import compiled
from beamscribe.storage.fetched import fetched
from beamscribe.storage.location import shown


def build_backbone(spec: BackboneSpec, weights: ResolvedWeights) -> keras.Model:
    """The backbone as a Keras model, from preprocessed pixels to the grid.

    Raises:
        WeightsError: if the weights cannot be had or do not fit.
    """
    path: str | None = weights.source
    if weights.source == RANDOM:
        keras.utils.set_random_seed(RANDOM_SEED)
        path = None
    elif "://" in weights.source:
        path = _local_copy(weights)
    try:
        model = _build(spec, path)
    except _MISFITS as error:
        # Without a file this is a mistake of ours.
        if path is None and not isinstance(error, ValueError | OSError | KeyError):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"the weights {weights.source} do not fit {spec.name} without its top: {reason}; "
            f"give {_FITTING[_is_ours(spec)]}"
        ) from error
    except Exception as error:
        # Keras raises a bare Exception when its download fails; anything else is a mistake of ours.
        if weights.source != IMAGENET or "URL fetch failure" not in str(error):
            raise
        raise WeightsError(
            f"{error}: the network is needed once for imagenet weights; offline, give --backbone-weights FILE, or take "
            "--backbone efficientnet_lite2_levels, whose weights come with Beamscribe"
        ) from error
    model.trainable = False
    return model


_MISFITS = (ValueError, OSError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
"""What Keras, h5py and TensorFlow raise for a file that is damaged, or made to be odd."""

_FITTING = {
    False: "a weights file of keras.applications with include_top=False",
    True: "an .npz of EfficientNet-Lite2 in PyTorch's layout",
}


def _is_ours(spec: BackboneSpec) -> bool:
    return spec in LITE2


def _build(spec: BackboneSpec, path: str | None) -> keras.Model:
    shape = (*spec.input_size, 3)
    if not _is_ours(spec):
        if path is not None and path != IMAGENET:
            refuse_odd_weights(path, os.path.getsize(path))
        return getattr(keras.applications, _class(spec))(include_top=False, weights=path, input_shape=shape)
    model = build_efficientnet_lite(STAGES, spec.input_size, LEVELS if spec == EFFICIENTNET_LITE2_LEVELS else ())
    if path is not None:
        with open(path, "rb") as file:
            load_weights(model, file.read())
    return model


def _class(spec: BackboneSpec) -> str:
    """The name in `keras.applications`, which is written as the backbone's but for one."""
    return "InceptionV3" if spec == INCEPTION_V3 else spec.name


def preprocess(spec: BackboneSpec, pixels: tf.Tensor) -> tf.Tensor:
    """Pixels as the backbone was trained on them.

    Args:
        spec: which backbone.
        pixels: float (batch, height, width, 3), RGB, 0 to 255.

    Returns:
        float, of the same shape.
    """
    if _is_ours(spec):
        return (pixels - 127.0) / 128.0
    module = sys.modules[getattr(keras.applications, _class(spec)).__module__]
    return module.preprocess_input(pixels, data_format="channels_last")


def _local_copy(weights: ResolvedWeights) -> str:
    """Remote weights on this machine's disk; Keras opens local files and reads suffixes.

    Raises:
        WeightsError: if they cannot be read, or are not those that the launcher saw.
    """
    folder, _, name = weights.source.rpartition("/")
    try:
        return os.path.join(fetched(folder, {name: weights.digest}, dict(weights.options or {})), name)
    except (OSError, ValueError) as error:
        raise WeightsError(f"the weights {shown(weights.source)} cannot be read: {error}") from error


class Backbone:
    """Pixels to features, with one compiled function.

    Args:
        spec: which backbone.
        weights: resolved by the launcher.
    """

    def __init__(self, spec: BackboneSpec, weights: ResolvedWeights) -> None:
        self.spec = spec
        self.model = build_backbone(spec, weights)
        height, width = spec.input_size
        self._run = compiled(
            self.grid, input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8, name="pixels")]
        )

    def grid(self, pixels: tf.Tensor) -> tf.Tensor:
        """Features of a batch, for use inside a traced function.

        Args:
            pixels: uint8 (batch, height, width, 3), RGB.

        Returns:
            float32 (batch, rows, columns, channels).
        """
        return self.model(preprocess(self.spec, tf.cast(pixels, tf.float32)), training=False)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features of a batch.

        Args:
            pixels: uint8 (batch, height, width, 3), RGB.

        Returns:
            float32 (batch, rows, columns, channels).
        """
        result: Any = self._run(pixels)
        return result.numpy()


class SplitError(ValueError):
    """A backbone cannot be split at a layer; the message names layers where it can."""


def split_backbone(backbone: Backbone, layer: str) -> tuple[Callable[[np.ndarray], tf.Tensor], keras.Model]:
    """Two parts of a backbone, the upper of which may be trained while the lower stays as it is.

    Args:
        backbone: shares its layers with the parts.
        layer: name of the first layer of the upper part; one that joins branches and has no weights ends the lower.

    Returns:
        The lower part, from pixels uint8 (batch, height, width, 3) to what the upper part is given, compiled; and the
        upper part, from that to the grid.

    Raises:
        SplitError: if there is no such layer, or branches pass it by.
    """
    model = backbone.model
    names = [one.name for one in model.layers[1:]]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=5, cutoff=0.4) or names[-5:]
        raise SplitError(f"{backbone.spec.name} has no such layer; near: {', '.join(near)}")
    before = names.index(layer)
    between = _between(model, layer)
    if between is None:
        others = [name for name in reversed(names[:before]) if _between(model, name) is not None]
        raise SplitError(f"branches of {backbone.spec.name} pass by this layer; the next before it is {others[0]}")
    inner, upper = between
    lower = keras.Model(model.input, inner)
    height, width = backbone.spec.input_size
    run = compiled(
        lambda pixels: lower(preprocess(backbone.spec, tf.cast(pixels, tf.float32)), training=False),
        input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8, name="pixels")],
    )
    return run, upper


def _between(model: keras.Model, layer: str) -> tuple[keras.KerasTensor | list[keras.KerasTensor], keras.Model] | None:
    """The only tensor between a layer and what comes before it, and the model from there on."""
    one = model.get_layer(layer)
    inner = one.output if isinstance(one.input, list) and not one.weights else one.input
    try:
        return inner, keras.Model(inner, model.output)
    except ValueError:
        return None


def dump_backbone(backbone: Backbone) -> tuple[str, bytes]:
    """A backbone's weights as they are now.

    Returns:
        The suffix that tells the format, and the bytes of a file that `build_backbone` reads.
    """
    if _is_ours(backbone.spec):
        return ".npz", dump_weights(backbone.model)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "backbone.weights.h5")
        backbone.model.save_weights(path)
        with open(path, "rb") as file:
            return ".weights.h5", file.read()


def weights_path(weights: ResolvedWeights) -> str | None:
    """The local file of the weights, if there is one to copy into a bundle."""
    return weights.source if weights.source not in (IMAGENET, RANDOM) and os.path.isfile(weights.source) else None
