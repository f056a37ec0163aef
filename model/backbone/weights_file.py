"""A weights file of Keras (HDF5) that a stranger may have made: looked at before Keras takes memory for it."""

import math
from typing import Any

import h5py

EXPANSION = 4
"""Times its own size that a file may inflate to; what is small may inflate to `FLOOR`."""
FLOOR = 2**26
OBJECTS = 100_000
"""Groups and arrays at most: the largest network of keras.applications has some 3,000."""


def refuse_odd_weights(path: str, size: int) -> None:
    """Looks through all groups of a file without reading an array.

    Args:
        path: local.
        size: of the file, in bytes.

    Raises:
        ValueError: if it links to anything outside itself, or declares far more than it holds.
        OSError: if it is no HDF5.
    """
    with h5py.File(path, "r") as file:
        waiting: list[Any] = [file]
        seen, declared = 0, 0
        while waiting:
            group = waiting.pop()
            for name in group:
                seen += 1
                if seen > OBJECTS:
                    raise ValueError(f"it holds more than {OBJECTS:,} objects")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name} is a link: all weights belong into the file itself")
                found = group[name]
                if isinstance(found, h5py.Group):
                    waiting.append(found)
                elif isinstance(found, h5py.Dataset):
                    if found.external or found.is_virtual:
                        raise ValueError(f"{name} is stored in another file")
                    declared += math.prod(found.shape or ()) * found.dtype.itemsize
        if declared > max(FLOOR, EXPANSION * size):
            raise ValueError(f"its arrays declare {declared:,} bytes, the file has {size:,}")
