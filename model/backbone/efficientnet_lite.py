"""EfficientNet-Lite2 without its top, in Keras (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite").

EfficientNet (Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excite and with ReLU6 for swish, so that it runs
well in few bits. `keras.applications` does not have it. Weights come and go as an `.npz` in PyTorch's layout (kernels
(out, in, height, width), batch norm as weight, bias, running_mean, running_var), the names being those of the
efficientnet-lite-pytorch port; the classifier `_fc`, where there is one, is left aside.
"""

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np

from beamscribe.model.npz import ArraysError, read_arrays

EPSILON = 1e-3
"""The epsilon of batch normalization, as in TensorFlow's tpu models."""

STEM, HEAD = 32, 1280
SCALE = 32
"""Pixels a cell of the grid, each way."""
CLASSIFIER = "_fc."
EXPANSION = 2
"""Times the bytes of all weights as float32 that a file may inflate to: the classifier is left aside."""


class Stage(NamedTuple):
    """Blocks of one width.

    Attributes:
        blocks: how many; only the first changes size and width.
        kernel: of the depthwise convolution, pixels a side.
        stride: of the first block.
        expansion: times the input's channels inside a block.
        channels: of the output.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
    Stage(1, 3, 1, 6, 352),
)


LEVELS = (1, 2, 4, 5)
"""Stages whose last blocks see what the head has forgotten: colours, textures, small things."""


def build_efficientnet_lite(
    stages: tuple[Stage, ...], input_size: tuple[int, int], levels: tuple[int, ...] = ()
) -> keras.Model:
    """The network with fresh weights.

    Args:
        stages: its body.
        input_size: (height, width) in pixels.
        levels: stages whose output is given too, averaged over the cells of the grid, before the head's channels
            (hypercolumns, Hariharan et al. 2015, arXiv:1411.5752).

    Returns:
        A model from float (batch, height, width, 3) to float (batch, height / 32, width / 32, channels), rounded up;
        channels are those of the levels and 1280.
    """

    def normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return keras.layers.BatchNormalization(epsilon=EPSILON, momentum=0.99, name=name)(x)

    def pointwise(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
        return keras.layers.Conv2D(channels, 1, use_bias=False, name=name)(x)

    image = keras.Input((*input_size, 3), name="pixels")
    x = keras.layers.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name="_conv_stem")(image)
    x = keras.layers.ReLU(6.0)(normalized(x, "_bn0"))
    number, scale, given = 0, 2, []
    for order, stage in enumerate(stages):
        scale *= stage.stride
        for place in range(stage.blocks):
            prefix, before = f"_blocks.{number}.", x
            if stage.expansion > 1:
                x = pointwise(x, stage.expansion * x.shape[-1], f"{prefix}_expand_conv")
                x = keras.layers.ReLU(6.0)(normalized(x, f"{prefix}_bn0"))
            stride = stage.stride if place == 0 else 1
            x = keras.layers.DepthwiseConv2D(
                stage.kernel, stride, padding="same", use_bias=False, name=f"{prefix}_depthwise_conv"
            )(x)
            x = keras.layers.ReLU(6.0)(normalized(x, f"{prefix}_bn1"))
            x = normalized(pointwise(x, stage.channels, f"{prefix}_project_conv"), f"{prefix}_bn2")
            if place:
                x = keras.layers.Add()([x, before])
            number += 1
        if order in levels:
            cell = SCALE // scale
            given.append(keras.layers.AveragePooling2D(cell, cell, padding="same")(x))
    x = keras.layers.ReLU(6.0)(normalized(pointwise(x, HEAD, "_conv_head"), "_bn1"))
    return keras.Model(image, keras.layers.Concatenate()([*given, x]) if given else x, name="efficientnet_lite")


def _layers(model: keras.Model) -> Iterator[tuple[keras.Layer, tuple[str, ...]]]:
    """Layers with weights, and the names of these in the file, in the order of `Layer.get_weights`."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer, ("weight", "bias", "running_mean", "running_var")
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            yield layer, ("weight",)


def _axes(layer: keras.Layer) -> tuple[int, ...]:
    """Where each axis of a kernel in the file goes in Keras: depthwise kernels have (channels, 1), others (out, in)."""
    return (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)


def load_weights(model: keras.Model, data: bytes) -> None:
    """Sets the weights.

    Args:
        model: of `build_efficientnet_lite`.
        data: of an `.npz` file.

    Raises:
        ValueError: if it is no such file or does not fit.
    """
    try:
        found = read_arrays(data, max(len(data), EXPANSION * 4 * model.count_params()))
    except ArraysError as error:
        raise ValueError(f"it is no whole .npz file ({error})") from error
    arrays = {name: values for name, values in found.items() if not name.startswith(CLASSIFIER)}
    _check_names(model, arrays)
    for layer, names in _layers(model):
        values = [arrays[f"{layer.name}.{name}"].astype(np.float32) for name in names]
        if len(names) == 1:
            values = [values[0].transpose(_axes(layer))]
        layer.set_weights(values)


def _check_names(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    expected = {f"{layer.name}.{name}" for layer, names in _layers(model) for name in names}
    if different := sorted(expected ^ arrays.keys()):
        raise ValueError(f"{len(different)} names differ, such as {', '.join(different[:3])}")


def dump_weights(model: keras.Model) -> bytes:
    """The weights as the bytes of an `.npz` file that `load_weights` reads: kernels as float16, the rest as float32."""
    arrays: dict[str, np.ndarray] = {}
    for layer, names in _layers(model):
        values = layer.get_weights()
        if len(names) == 1:
            values = [values[0].transpose(np.argsort(_axes(layer))).astype(np.float16)]
        arrays |= {f"{layer.name}.{name}": value for name, value in zip(names, values, strict=True)}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: arrays[name] for name in sorted(arrays)})  # type: ignore[arg-type]
    return buffer.getvalue()
