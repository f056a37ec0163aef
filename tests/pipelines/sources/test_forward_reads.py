"""Ranges of a file read in any order are its bytes; those that follow each other are asked for ahead."""

import contextlib
import time
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from beamscribe.pipelines.sources.forward_reads import MOST_STREAMS, ForwardReads
from beamscribe.pipelines.sources.opened import PIECE_BYTES, Where

DATA = bytes(range(251)) * (5 * PIECE_BYTES // 251)


class File(Where):
    """A file that writes down what is asked of it."""

    asked: list[tuple[int, int]] = []

    def read(self, position: int, size: int) -> bytes:
        self.asked.append((position, size))
        return DATA[position : position + size]


def file(name: str = "table") -> Where:
    File.asked = []
    return File(name, "{}", False)


@contextlib.contextmanager
def forward_reads() -> Iterator[ForwardReads]:
    reads = ForwardReads()
    with contextlib.closing(reads):
        yield reads


RANGES = st.tuples(st.sampled_from((None, 0, 7, 3 * PIECE_BYTES)), st.integers(1, 2 * PIECE_BYTES))


@given(st.lists(RANGES, max_size=12))
def test_ranges_are_the_bytes_of_the_file(ranges: list[tuple[int | None, int]]) -> None:
    """None is where the range before has ended."""
    where, end = file(), 0
    with forward_reads() as reads:
        for begin, wanted in ranges:
            begin = end if begin is None else begin
            wanted = min(wanted, len(DATA) - begin)
            if wanted:
                end = begin + wanted
                assert reads.read(where, len(DATA), begin, wanted) == DATA[begin:end]


def test_a_range_alone_reads_nothing_else() -> None:
    with forward_reads() as reads:
        reads.read(file(), len(DATA), 100, 1000)
    assert File.asked == [(100, 1000)]


def test_a_second_range_behind_the_first_reads_ahead() -> None:
    where = file()
    with forward_reads() as reads:
        reads.read(where, len(DATA), 0, 1000)
        reads.read(where, len(DATA), 1000, 1000)
        expected = [(0, 1000), (1000, PIECE_BYTES), (1000 + PIECE_BYTES, PIECE_BYTES)]
        until = time.monotonic() + 10
        while len(File.asked) < len(expected) and time.monotonic() < until:
            time.sleep(0.01)
        assert sorted(File.asked) == expected


def test_of_many_files_the_ones_asked_last_are_read_ahead() -> None:
    with forward_reads() as reads:
        wheres = [file(f"table-{number}") for number in range(MOST_STREAMS + 1)]
        for where in wheres:
            reads.read(where, len(DATA), 0, 1000)
        File.asked = []
        reads.read(wheres[0], len(DATA), 1000, 10)
        assert File.asked == [(1000, 10)]
        reads.read(wheres[-1], len(DATA), 1000, 10)
        assert (1000, PIECE_BYTES) in File.asked
