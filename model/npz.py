"""Arrays of an `.npz` file that strangers may have made: names, types and sizes are checked before memory is taken."""

import ast
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

SUFFIX = ".npy"
HEADER_BYTES = 10_000
"""Bytes of an array's description at most, which is some 100 bytes."""

LIMIT_BYTES = 2**31
"""Bytes of all arrays together at most, where nothing closer is known."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, KeyError, OverflowError)
_UNREADABLE = (NotImplementedError, RuntimeError, SyntaxError, RecursionError, MemoryError)
"""What zipfile raises for compression and encryption that it does not know, and Python's parser for a header."""


class ArraysError(ValueError):
    """The bytes are no archive of plain float arrays; the message says why."""


def read_arrays(data: bytes, limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name, each read only; no pickle is ever opened.

    Args:
        data: of the file.
        limit_bytes: of all arrays together; what declares more is not inflated.

    Raises:
        ArraysError: if it is damaged or holds anything but floats.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename.removesuffix(SUFFIX) for member in members]
            if len(set(names)) < len(names):
                raise ArraysError("two arrays have the same name")
            declared = sum(member.file_size for member in members)
            if declared > limit_bytes:
                raise ArraysError(f"its arrays declare {declared:,} bytes, {limit_bytes:,} at most belong there")
            return {name: _array(name, archive.read(member)) for name, member in zip(names, members, strict=True)}
    except ArraysError:
        raise
    except (*_DAMAGE, *_UNREADABLE, ValueError) as error:
        raise ArraysError(str(error) or type(error).__name__) from error


def _array(name: str, data: bytes) -> np.ndarray:
    """One member: NumPy's `.npy` format, versions 1 and 2 (numpy/lib/_format_impl.py)."""
    if data[:6] != b"\x93NUMPY" or data[6:7] not in (b"\1", b"\2"):
        raise ArraysError(f"{name} is no array")
    width = 2 if data[6] == 1 else 4
    (length,) = struct.unpack("<H" if width == 2 else "<I", data[8 : 8 + width])
    start = 8 + width + length
    if length > HEADER_BYTES or start > len(data):
        raise ArraysError(f"the description of {name} is damaged")
    described = ast.literal_eval(data[8 + width : start].decode("latin-1").strip())
    if not isinstance(described, Mapping) or described.keys() != {"descr", "fortran_order", "shape"}:
        raise ArraysError(f"the description of {name} is damaged")
    kind, shape = described["descr"], described["shape"]
    if kind not in ("<f2", "<f4", "<f8"):
        raise ArraysError(f"{name} holds {str(kind)[:20]}, not floats of 16, 32 or 64 bits")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 8:
        raise ArraysError(f"{name} has no shape")
    dtype = np.dtype(kind)
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ArraysError(f"{name} is not as long as its shape says")
    # NumPy refuses to look at nothing.
    values = np.frombuffer(data, dtype, offset=start) if len(data) > start else np.zeros(0, dtype)
    return values.reshape(shape, order="F" if described["fortran_order"] is True else "C")
