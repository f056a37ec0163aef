"""Reading that begins in the middle of a row group gives the rows that reading from its first row gives."""

import io
import itertools
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.opened_table import open_table
from beamscribe.pipelines.sources.parquet_pages import Page, PagesError, Skip, pages_of, skip_to
from beamscribe.pipelines.sources.parquet_table import ParquetTable
from beamscribe.pipelines.sources.table_passed import Spans, holds, pass_rows
from beamscribe.pipelines.sources.table_rows import Part

ROWS = 2500
RANDOM = random.Random(1)
IMAGES = [RANDOM.randbytes(RANDOM.randint(1, 2000)) for _ in range(ROWS)]
WRITERS = [
    {"compression": compression, "data_page_version": version, "use_dictionary": dictionary, "data_page_size": 50_000}
    for compression, version, dictionary in itertools.product(("none", "snappy", "zstd"), ("1.0", "2.0"), (True, False))
]
NULL = "this row holds no image"
COLUMNS: dict[str, list[Any]] = {
    "bytes": IMAGES,
    "struct": [{"bytes": data, "path": f"{row}.jpg"} for row, data in enumerate(IMAGES)],
    "some are null": [data if row % 7 else None for row, data in enumerate(IMAGES)],
    "struct, some are null": [{"bytes": data if row % 7 else None, "path": None} for row, data in enumerate(IMAGES)],
    "few different ones": [IMAGES[row % 5] for row in range(ROWS)],
    "lists": [[data] for data in IMAGES],
}


class Counted:
    """Reads a file, and counts the bytes that are read of all."""

    read_bytes = 0

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = bytes(data)

    def __call__(self, position: int, size: int) -> bytes:
        data = self._data[position : position + size]
        Counted.read_bytes += len(data)
        return data


def written(values: list[Any], **writer: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": values, "number": list(range(len(values)))}), file, write_batch_size=64, **writer)
    return file.getvalue()


def opened(data: bytes) -> ParquetTable:
    table = open_table(Counted(data), "t.parquet", len(data))
    assert isinstance(table, ParquetTable)
    return table


def images(table: ParquetTable, begins: int) -> dict[int, bytes | str | None]:
    """By the number of its row each image from one on, or why there is none; None where a row holds none."""
    found: dict[int, bytes | str | None] = {}
    waiting: list[int] = []
    for one in pass_rows(table, Columns("image"), begins, 2**20, 2**20):
        if isinstance(one, Part):
            assert not waiting
            assert one.first == begins + len(found)
            found |= dict.fromkeys(range(one.first, one.first + one.rows))
            waiting = [one.first + row for row in range(one.rows) if holds(one, row)]
        elif isinstance(one, bytes | str):
            found[waiting.pop(0)] = one
    return found


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: "-".join(map(str, list(writer.values())[:3])))
@pytest.mark.parametrize("column", COLUMNS)
def test_rows_from_one_on_are_those_of_the_whole(column: str, writer: dict[str, Any]) -> None:
    data = written(COLUMNS[column], **writer)
    whole = images(opened(data), 0)
    assert len(whole) == ROWS
    assert set(whole.values()) <= {*IMAGES, *((None, NULL) if "null" in column else ())}
    for begins in (1, 1000, 1777, ROWS - 1):
        assert images(opened(data), begins) == {row: image for row, image in whole.items() if row >= begins}


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("column", ["bytes", "struct"])
def test_pages_before_the_first_row_are_not_read(column: str, dictionary: bool) -> None:
    data = written(COLUMNS[column], use_dictionary=dictionary, data_page_size=50_000, dictionary_pagesize_limit=50_000)
    table = opened(data)
    Counted.read_bytes = 0
    found = images(table, 2400)
    assert list(found.values()) == IMAGES[2400:]
    assert Counted.read_bytes < 0.6 * len(data)
    spans = [one for one in pass_rows(opened(data), Columns("image"), 2400, 2**20, 2**20) if isinstance(one, Spans)]
    [[(begin, size)]] = [one.spans for one in spans]
    assert begin > 0.8 * len(data)
    assert size < 0.1 * len(data)


def test_a_dictionary_that_is_needed_is_read() -> None:
    data = written(COLUMNS["few different ones"], use_dictionary=True)
    assert list(images(opened(data), 1200).values()) == COLUMNS["few different ones"][1200:]


PAGES = [Page(4, 50, 0, False), Page(50, 90, 10, False), Page(90, 200, 10, True), Page(200, 300, 5, True)]


@pytest.mark.parametrize(
    ("row", "rows", "expected"),
    [
        (0, 25, None),
        (9, 25, None),
        (10, 25, Skip(10, 4, 90, 300)),
        (19, 25, Skip(10, 4, 90, 300)),
        (20, 25, Skip(20, 4, 200, 300)),
        (20, 24, None),
        (20, 26, None),
    ],
)
def test_what_is_skipped(row: int, rows: int, expected: Skip | None) -> None:
    assert skip_to(row, rows, PAGES) == expected


def test_a_dictionary_that_comes_into_use_later_is_not_skipped() -> None:
    later = [*PAGES[:3], Page(200, 300, 5, False)]
    assert skip_to(12, 25, later) is None


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"\x19\xf2" + b"\xff" * 8 + b"\x0f", id="a list of 2^60 truths"),
        pytest.param(b"\x19\xf7" + b"\xff" * 8 + b"\x0f", id="a list of 2^60 numbers"),
        pytest.param(b"\x15\x00\x28\x01a\x18\x01a\x00", id="a text for a size"),
        pytest.param(b"\x15\x00\x15\x02\x15\x02\x2c\x18\x01a\x15\x00\x00\x00", id="a text for a number of rows"),
        pytest.param(b"\x1c" * 100, id="structs in structs"),
    ],
)
def test_hostile_headers_are_errors(header: bytes) -> None:
    with pytest.raises(PagesError):
        pages_of(Counted(header + bytes(100)), 0, len(header) + 100)


def test_chunks_of_very_many_pages_are_read_from_their_beginning() -> None:
    data = written(IMAGES, use_dictionary=False, data_page_size=100)
    chunk = chunk_of(data)
    with pytest.raises(PagesError, match="more than 5 pages"):
        pages_of(Counted(data), *chunk, most=5)
    with pytest.raises(PagesError, match="byte -1"):
        pages_of(Counted(data), -1, 10)
    Counted.read_bytes = 0
    assert list(images(opened(data), 100).values()) == IMAGES[100:]
    assert Counted.read_bytes < 1.1 * len(data), "looking for pages costs less than it saves"


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3))
def test_no_header_ends_in_anything_but_an_error_or_pages(data: bytes, begin: int) -> None:
    try:
        pages = pages_of(Counted(data), begin, len(data))
    except PagesError:
        return
    assert all(page.begin < page.end <= len(data) for page in pages)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_headers_give_no_other_rows_than_without_skipping(found: st.DataObject) -> None:
    """A row is the one that it was, or what Arrow makes of the whole, or a failure."""
    data = bytearray(written(IMAGES[:300], use_dictionary=False, data_page_size=10_000, compression="none"))
    page = found.draw(st.sampled_from(pages_of(Counted(data), *chunk_of(data))))
    data[page.begin + found.draw(st.integers(0, 20))] = found.draw(st.integers(0, 255))
    whole = images(opened(bytes(data)), 0)
    for row, image in images(opened(bytes(data)), 200).items():
        assert isinstance(image, str) or image in (IMAGES[row], whole[row])


def chunk_of(data: bytes | bytearray) -> tuple[int, int]:
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
    return chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
