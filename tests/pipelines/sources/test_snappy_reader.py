"""What is unpacked a part at a time, from any fragment on, is what the library unpacks at once."""

import io
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources.parquet_pages import UnusualPageError
from beamscribe.pipelines.sources.snappy_reader import FRAGMENT, SnappyReader

CHANCE = random.Random(3)


def packed(data: bytes) -> tuple[bytes, int]:
    """What the library makes of some bytes, and how many of it tell their number."""
    found = pa.compress(data, codec="snappy", asbytes=True)
    return found, next(place for place, byte in enumerate(found) if byte < 128) + 1


def opened(data: bytes) -> tuple[io.BytesIO, SnappyReader]:
    found, begin = packed(data)
    file = io.BytesIO(found)
    file.seek(begin)
    return file, SnappyReader(file, len(data))


def made(chance: random.Random, size: int) -> bytes:
    """Bytes of which some come again, near and far."""
    found = bytearray()
    while len(found) < size:
        near = found[-chance.randint(1, 300) :][: chance.randint(1, 200)]
        found += chance.choice((chance.randbytes(chance.randint(1, 9000)), near * 3, bytes(chance.randint(1, 5000))))
    return bytes(found[:size])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 400_000), st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_parts_are_those_of_the_whole(size: int, seed: int, chance: random.Random) -> None:
    data = made(random.Random(seed), size)
    file, reader = opened(data)
    at, places = 0, []
    while at < size:
        places.append((at, reader.left, *reader.place()))
        part = reader.read(min(size - at, chance.randint(0, 100_000)))
        assert part == data[at : at + len(part)]
        at += len(part)
    assert reader.left == 0
    for at, left, begin, skip in places:
        assert skip < FRAGMENT
        file.seek(begin)
        again = SnappyReader(file, left + skip)
        assert again.read(skip) == data[at - skip : at]
        assert again.read(left) == data[at:]


def test_little_is_held_of_what_is_taken() -> None:
    _, reader = opened(made(CHANCE, 3_000_000))
    for _ in range(3000):
        reader.read(1000)
        assert len(reader._ready) < 2**19


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"\x04a", id="a short literal"),
        pytest.param(b"\xfc\xff\xff\xff\xff", id="a long literal"),
        pytest.param(b"\x00a\x01\x02", id="a copy from before the fragment"),
        pytest.param(b"\x00a\x01\x00", id="a copy from nowhere"),
        pytest.param(b"\x00a\x02\x01", id="half of a copy"),
        pytest.param(b"\x00a\xfe\x01\x00", id="a copy behind the end"),
    ],
)
def test_what_is_not_there_is_an_error(element: bytes) -> None:
    with pytest.raises(UnusualPageError):
        SnappyReader(io.BytesIO(element), 10).read(10)
    with pytest.raises(UnusualPageError):
        SnappyReader(io.BytesIO(element), 10).read(11)
