"""A model's weights as float16 arrays, and back."""

import io
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from beamscribe.model.npz import read_arrays


def _name(variable: keras.Variable) -> str:
    # The first part of a path is the model's own name, which differs between two models of one process.
    return variable.path.split("/", 1)[1]


def to_npz(model: keras.Model) -> bytes:
    """Weights as the bytes of an `.npz` file of float16 arrays; equal weights give equal bytes."""
    return _pack({_name(variable): variable.numpy() for variable in model.weights})


def _pack(values: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    halves: dict[str, Any] = {name: values[name].astype(np.float16) for name in sorted(values)}
    np.savez(buffer, **halves)
    return buffer.getvalue()


def between(first: bytes, second: bytes, share: float) -> bytes:
    """Weights on the straight line from one model's to another's, all as `to_npz` gives them; a half is their mean."""
    begun, ended = (
        {name: values.astype(np.float32) for name, values in arrays(data).items()} for data in (first, second)
    )
    return _pack({name: values + share * (ended[name] - values) for name, values in begun.items()})


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's weights, by variable path as `assign` takes them."""
    return {_name(variable): tuple(variable.shape) for variable in model.weights}


def assign(model: keras.Model, values: dict[str, np.ndarray]) -> None:
    """Sets a model's weights.

    Args:
        model: built.
        values: by variable path.

    Raises:
        ValueError: if names or shapes differ.
    """
    refuse_other_shapes(shapes(model), values)
    for variable in model.weights:
        variable.assign(values[_name(variable)].astype(np.float32))


def refuse_other_shapes(expected: Mapping[str, tuple[int, ...]], values: Mapping[str, np.ndarray]) -> None:
    """Compares arrays with what a model has.

    Raises:
        ValueError: if names or shapes differ.
    """
    if expected.keys() != values.keys():
        different = sorted(expected.keys() ^ values.keys())
        raise ValueError(f"the weights do not belong to this model: {', '.join(different[:5])}")
    for name, shape in expected.items():
        if shape != values[name].shape:
            raise ValueError(f"{name} is {values[name].shape}, the model needs {shape}")


def load(model: keras.Model, data: bytes) -> None:
    """Sets a model's weights to those that `to_npz` gave.

    Raises:
        ValueError: if names or shapes differ.
    """
    assign(model, arrays(data))


def arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays that `to_npz` wrote, by variable path.

    Raises:
        ValueError: if it did not write them.
    """
    return read_arrays(data, limit_bytes=len(data))
