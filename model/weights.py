"""A model's weights as float16 arrays, and back."""

import io
from typing import Any

import keras
import numpy as np


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


def halfway(first: bytes, second: bytes) -> bytes:
    """The mean of two models' weights, all as `to_npz` gives them."""
    ours, theirs = arrays(first), arrays(second)
    return _pack({name: (values.astype(np.float32) + theirs[name]) / 2 for name, values in ours.items()})


def assign(model: keras.Model, values: dict[str, np.ndarray]) -> None:
    """Sets a model's weights.

    Args:
        model: built.
        values: by variable path.

    Raises:
        ValueError: if names or shapes differ.
    """
    variables = {_name(variable): variable for variable in model.weights}
    if variables.keys() != values.keys():
        different = sorted(variables.keys() ^ values.keys())
        raise ValueError(f"the weights do not belong to this model: {', '.join(different[:5])}")
    for name, variable in variables.items():
        if tuple(variable.shape) != values[name].shape:
            raise ValueError(f"{name} is {values[name].shape}, the model needs {tuple(variable.shape)}")
        variable.assign(values[name].astype(np.float32))


def load(model: keras.Model, data: bytes) -> None:
    """Sets a model's weights to those that `to_npz` gave.

    Raises:
        ValueError: if names or shapes differ.
    """
    assign(model, arrays(data))


def arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays that `to_npz` wrote, by variable path."""
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return dict(found)
