"""A gzip file that is begun in the middle gives the bytes that it gives from its beginning."""

import gzip
import io
import random
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources import gzip_blocks, inflating
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.inflating import inflated, tells_points

pytestmark = pytest.mark.skipif(gzip_blocks.library() is None, reason="this machine has no zlib that can be loaded")


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Any:
    """So that files of a few kilobytes have points, and are read and inflated in many pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip_blocks, "SPACING", 1000)
        patch.setattr(inflating, "READ", 777)
        patch.setattr(inflating, "PIECE", 1500)
        yield


def member(parts: list[bytes], level: int, ends: list[int]) -> bytes:
    """A member whose blocks end where its parts do, at any bit of a byte."""
    compressor = zlib.compressobj(level, wbits=31)
    pieces = [compressor.compress(part) + compressor.flush(end) for part, end in zip(parts, ends, strict=True)]
    return b"".join(pieces) + compressor.flush()


parts = st.tuples(st.integers(0, 2**32), st.integers(1, 3000), st.booleans()).map(
    lambda told: random.Random(told[0]).randbytes(told[1]) if told[2] else b"caption" * (told[1] // 7)
)
members = st.integers(1, 6).flatmap(
    lambda count: st.tuples(
        st.lists(parts, min_size=count, max_size=count),
        st.integers(0, 9),
        st.lists(st.sampled_from((zlib.Z_BLOCK, zlib.Z_PARTIAL_FLUSH)), min_size=count, max_size=count),
    )
)


@settings(max_examples=60, deadline=None)
@given(st.lists(members, min_size=1, max_size=3))
def test_every_point_gives_the_rest(told: list[tuple[list[bytes], int, list[int]]]) -> None:
    file = b"".join(member(*one) for one in told)
    whole = gzip.decompress(file)
    points: list[Point] = []
    assert b"".join(inflated(io.BytesIO(file), ".gz", points.append)) == whole
    for point in points:
        rest = inflated(io.BytesIO(file[point.compressed :]), ".gz", list[Point]().append, point)
        assert b"".join(rest) == whole[point.inflated :]


def test_points_are_as_far_apart_as_is_said() -> None:
    file = gzip.compress(random.Random(0).randbytes(600_000))
    points: list[Point] = []
    assert len(b"".join(inflated(io.BytesIO(file), ".gz", points.append))) == 600_000
    places = [point.inflated for point in points]
    assert len(places) > 10
    assert all(second - first >= gzip_blocks.SPACING for first, second in zip(places, places[1:], strict=False))
    assert {len(point.window) for point in points if point.inflated >= gzip_blocks.WINDOW} == {gzip_blocks.WINDOW}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file[:-1], "end early"),
        (lambda file: file[:-5] + bytes([file[-5] ^ 1]) + file[-4:], "incorrect data check"),
        (lambda file: file[:-1] + bytes([file[-1] ^ 1]), "incorrect"),
        (lambda file: file + b"more", "something else follows"),
    ],
    ids=["trailer cut off", "checksum", "length", "bytes behind"],
)
def test_damage_behind_a_point_is_noticed_as_from_the_beginning(damage: Any, message: str) -> None:
    file = gzip.compress(random.Random(0).randbytes(200_000))
    points: list[Point] = []
    list(inflated(io.BytesIO(file), ".gz", points.append))
    damaged = damage(file)
    for first, point in ((0, None), (points[-1].compressed, points[-1])):
        with pytest.raises(DamagedArchiveError, match=message):
            list(inflated(io.BytesIO(damaged[first:]), ".gz", points.append, point))


@pytest.mark.parametrize(("suffix", "tells"), [(".gz", True), (".tgz", True), (".xz", False), (".zst", False)])
def test_only_gzip_tells_points(suffix: str, tells: bool) -> None:
    assert tells_points(suffix) is tells
