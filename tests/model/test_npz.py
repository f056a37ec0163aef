"""Archives of arrays: NumPy's come back, all others are refused within bounds."""

import io
import os
import struct
import zipfile
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.model.npz import ArraysError, read_arrays

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def member(descr: str = "'<f2'", shape: str = "(2, 3)", order: str = "False", values: bytes = bytes(12)) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + values


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
    return buffer.getvalue()


def test_arrays_come_back_as_numpy_wrote_them() -> None:
    random = np.random.default_rng(0)
    given_arrays: dict[str, Any] = {
        "a/kernel": random.random((3, 4)).astype(np.float16),
        "b": np.asfortranarray(random.random((2, 3, 4)).astype(np.float32)),
        "none": np.zeros((0, 5), np.float16),
        "one": np.array(2.5, np.float32),
    }
    found = read_arrays(npz(**given_arrays))
    assert found.keys() == given_arrays.keys()
    for name, values in given_arrays.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


WHOLE = archive(("a.npy", member()))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a zip"),
        (WHOLE[:-10], "not a zip"),
        (npz(a=np.array([{}], dtype=object)), "not floats"),
        (npz(a=np.array([1, 2])), "not floats"),
        (npz(a=np.array(["x"])), "not floats"),
        (npz(a=np.array([1.0], np.longdouble)), "not floats"),
        (archive(("a.npy", b"GIF89a")), "no array"),
        (archive(("a.npy", member()), ("a", member())), "same name"),
        (archive(("a.npy", member(shape="(2, 4)"))), "not as long"),
        (archive(("a.npy", member(shape="(-2, -3)"))), "no shape"),
        (archive(("a.npy", member(shape="(10**12,)"))), "."),
        (archive(("a.npy", member(shape="(1000000000000,)"))), "not as long"),
        (archive(("a.npy", member(shape="6"))), "no shape"),
        (archive(("a.npy", member(shape="(True, 6)"))), "no shape"),
        (archive(("a.npy", member(shape="(2.0, 3.0)"))), "no shape"),
        (archive(("a.npy", member(shape=f"({'1, ' * 40}2, 3)"))), "no shape"),
        (archive(("a.npy", member(descr="[('x', '<f2')]"))), "not floats"),
        (archive(("a.npy", member(descr="'|O'"))), "not floats"),
        (archive(("a.npy", member(shape="(" * 4000))), "."),
        (archive(("a.npy", member(shape="__import__('os')"))), "."),
        (archive(("a.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(100))), "description"),
        (archive(("a.npy", member(values=bytes(10**9))), compression=zipfile.ZIP_DEFLATED), "declare 1,000,000"),
    ],
)
def test_what_is_no_archive_of_floats_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ArraysError, match=reason):
        read_arrays(data, limit_bytes=10**6)


@hypothesis.settings(max_examples=EXAMPLES)
@given(st.data())
def test_damage_is_refused_or_changes_numbers_alone(data: st.DataObject) -> None:
    whole = bytearray(npz(a=np.ones((4, 5), np.float16), b=np.ones(7, np.float32)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole)
    try:
        found = read_arrays(damaged, limit_bytes=len(damaged))
    except ArraysError:
        return
    assert sum(values.nbytes for values in found.values()) <= len(damaged)
