"""Ranges of a file read in any order are its bytes; what a plan names is read once, in pieces, and ahead."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.pipelines.sources import planned_reads
from beamscribe.pipelines.sources.opened import PIECE_BYTES, Where
from beamscribe.pipelines.sources.planned_reads import KEPT_PIECES, PlannedReads, merged

DATA = bytes(range(251)) * (40 * PIECE_BYTES // 251)


class File(Where):
    """A file that writes down what is asked of it."""

    asked: list[tuple[int, int]] = []

    def read(self, position: int, size: int) -> bytes:
        self.asked.append((position, size))
        return DATA[position : position + size]


@contextlib.contextmanager
def planned(size: int = len(DATA), spans: list[tuple[int, int]] | None = None) -> Iterator[PlannedReads]:
    File.asked = []
    with contextlib.closing(PlannedReads(File("table", "{}", False), size)) as reads:
        if spans is not None:
            reads.plan(spans)
        yield reads


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([(0, 10), (10, 10)], [(0, 20)]),
        ([(500_000, 10), (0, 10)], [(0, 10), (500_000, 500_010)]),
        ([(0, 10), (5000, 10)], [(0, 5010)]),
        ([(-5, 10), (3, -1), (10**9, 5), (999_990, 10**12)], [(0, 5), (999_990, 10**6)]),
        ([(100, 50), (110, 10)], [(100, 150)]),
    ],
)
def test_parts_that_nobody_has_looked_at(spans: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert merged(spans, 10**6) == expected


PLACES = st.integers(0, len(DATA) - 1)
SPANS = st.lists(st.tuples(PLACES, st.integers(-1, 8 * PIECE_BYTES)), max_size=5)


@given(SPANS, st.lists(st.tuples(PLACES, st.integers(1, 3 * PIECE_BYTES)), max_size=12))
def test_ranges_are_the_bytes_of_the_file(spans: list[tuple[int, int]], ranges: list[tuple[int, int]]) -> None:
    with planned(spans=spans) as reads:
        for begin, wanted in ranges:
            assert reads.read(begin, min(wanted, len(DATA) - begin)) == DATA[begin : begin + wanted]


def test_a_small_file_is_read_at_once() -> None:
    with planned(size=900_000) as reads:
        assert reads.read(899_990, 10) == DATA[899_990:900_000]
        reads.plan([(0, 800_000)])
        assert reads.read(4, 800_000) == DATA[4:800_004]
    assert File.asked == [(0, 900_000)]


def test_what_is_planned_is_read_once_and_nothing_else() -> None:
    """The end first, then columns side by side: of the second one the last bytes of each row group."""
    group = 6 * PIECE_BYTES
    spans = [(group * number, group - 100_000) for number in range(4)]
    with planned() as reads:
        reads.read(len(DATA) - 1000, 1000)
        reads.plan(spans)
        for start, size in spans:
            for position in range(start, start + size - 50_000, 200_000):
                wanted = min(200_000, start + size - 50_000 - position)
                assert reads.read(position, wanted) == DATA[position : position + wanted]
                end = start + size - 50_000
                assert reads.read(end, 1000) == DATA[end : end + 1000]
    assert len(set(File.asked)) == len(File.asked)
    assert sum(size for _, size in File.asked) == 1000 + sum(size for _, size in spans)


def test_who_waits_has_more_read_ahead_and_who_does_not_has_little(monkeypatch: pytest.MonkeyPatch) -> None:
    read = File.read
    with planned(spans=[(0, len(DATA))]) as reads:
        for number in range(5):
            reads.read(number * PIECE_BYTES, PIECE_BYTES)
            time.sleep(0.05)
        assert max(reads._pieces) <= 8 * PIECE_BYTES
    monkeypatch.setattr(planned_reads.Where, "pieces_ahead", lambda self: 8)
    monkeypatch.setattr(File, "read", lambda self, *range: time.sleep(0.02) or read(self, *range))
    with planned(spans=[(0, len(DATA))]) as reads:
        for number in range(20):
            reads.read(number * PIECE_BYTES, PIECE_BYTES)
        assert len(reads._pieces) <= 8 + KEPT_PIECES
        assert max(reads._pieces) >= 16 * PIECE_BYTES


def test_what_could_not_be_read_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read, failing = File.read, [True]

    def refusing(self: File, position: int, size: int) -> bytes:
        if failing.pop() if failing else False:
            raise PermissionError("not now")
        return read(self, position, size)

    with planned(size=1000) as reads:
        monkeypatch.setattr(File, "read", refusing)
        with pytest.raises(PermissionError, match="not now"):
            reads.read(0, 10)
        assert reads.read(0, 10) == DATA[:10]
