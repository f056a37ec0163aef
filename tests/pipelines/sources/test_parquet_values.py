"""Images of a table that are read one by one, from any row on, are those that Arrow reads; nothing is read twice."""

import io
import itertools
import random
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources import tables
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.opened_table import open_table
from beamscribe.pipelines.sources.parquet_pages import UnusualPageError, page_header
from beamscribe.pipelines.sources.parquet_table import ParquetTable
from beamscribe.pipelines.sources.parquet_values import SNAPPY, STORED, Chunk, Place, Values
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
    "some come again": [IMAGES[row - row % 4] for row in range(ROWS)],
    "alike": [IMAGES[0] * (row % 9) + IMAGES[row] for row in range(ROWS)],
    "lists": [[data] for data in IMAGES],
}
DISTINCT, REPEATED = ("bytes", "struct"), ("few different ones", "some come again")


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
    table = pa.table({"image": values, "number": list(range(len(values)))})
    pq.write_table(table, file, write_batch_size=writer.pop("write_batch_size", 64), **writer)
    return file.getvalue()


def opened(data: bytes) -> ParquetTable:
    table = open_table(Counted(data), "t.parquet", len(data))
    assert isinstance(table, ParquetTable)
    return table


def passed(
    data: bytes, begins: int = 0, place: Place | None = None
) -> tuple[dict[int, bytes | str | None], dict[int, Place]]:
    """Images by their row, or why there is none, or None where a row holds none; and places."""
    found: dict[int, bytes | str | None] = {}
    places: dict[int, Place] = {}
    waiting: list[int] = []
    listed = begins
    for one in pass_rows(opened(data), Columns("image"), begins, 2**20, 2**20, place):
        if isinstance(one, Part):
            assert not waiting
            rows = range(listed, listed + one.rows)
            found |= dict.fromkeys(rows)
            waiting = [row for row in rows if holds(one, row - listed)]
            listed += one.rows
        elif isinstance(one, Place):
            places[waiting[0]] = one
        elif isinstance(one, bytes | str):
            found[waiting.pop(0)] = one
    return found, places


def test_what_is_behind_a_dictionary_is_read_one_by_one() -> None:
    values = [IMAGES[0], *IMAGES[:-1]]
    data = written(values, compression="none", write_batch_size=1024, dictionary_pagesize_limit=50_000)
    for begins in (0, 500, 1024, 2000):
        found, places = passed(data, begins)
        assert list(found.values()) == values[begins:]
        assert list(places) == list(range(max(1024, begins), ROWS))
    assert list(passed(data, 2100, places[2000])[0].values()) == values[2100:]


@pytest.mark.parametrize("compression", ["snappy", "uncompressed"])
@pytest.mark.parametrize("writer", ["duckdb", "polars"])
def test_other_writers_are_read_one_by_one(writer: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    if writer == "polars":
        pl.DataFrame({"image": IMAGES}).write_parquet(path, compression=compression)  # type: ignore[arg-type]
    else:
        images = pa.table({"image": IMAGES})  # noqa: F841 (DuckDB finds it by its name)
        duckdb.sql(f"copy (select * from images) to '{path}' (format parquet, compression {compression})")
    found, places = passed(path.read_bytes())
    assert list(found.values()) == IMAGES
    assert list(places) == list(range(ROWS))
    assert list(passed(path.read_bytes(), 1500, places[1500])[0].values()) == IMAGES[1500:]


def from_row(rows: dict[int, Any], begins: int) -> dict[int, Any]:
    return {row: image for row, image in rows.items() if row >= begins}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: "-".join(map(str, list(writer.values())[:3])))
@pytest.mark.parametrize("column", COLUMNS)
def test_rows_from_one_on_are_those_of_the_whole(column: str, writer: dict[str, Any]) -> None:
    data = written(COLUMNS[column], row_group_size=1000, **writer)
    whole, places = passed(data)
    values = [one["bytes"] if isinstance(one, dict) else one for one in COLUMNS[column]]
    values = [one[0] if isinstance(one, list) else one for one in values]
    assert [None if image == NULL else image for image in whole.values()] == values
    # A dictionary whose values come again, and what Snappy packs well, are left to Arrow.
    alike = column == "alike" or (column in REPEATED and not writer["use_dictionary"])
    ours = column in DISTINCT or (alike and writer["compression"] == "none")
    ours = ours and writer["compression"] != "zstd" and writer["data_page_version"] == "1.0"
    assert list(places) == (list(range(ROWS)) if ours else [])
    assert all(place.row == row for row, place in places.items())
    for begins in (1, 999, 1000, 1777, ROWS - 1, ROWS):
        assert passed(data, begins)[0] == from_row(whole, begins)
        for row in (begins, begins - 1, begins - 50):
            if row in places:
                again, others = passed(data, begins, places[row])
                assert again == from_row(whole, begins)
                assert others == from_row(places, begins)


@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_what_is_before_a_place_is_not_read(compression: str, dictionary: bool) -> None:
    """Pages are as Arrow writes them of larger images: a dictionary of the first 1,024, and then as many to a page."""
    how = {"write_batch_size": 1024, "dictionary_pagesize_limit": 50_000}
    data = written(IMAGES, compression=compression, use_dictionary=dictionary, **how)
    whole, places = passed(data)
    assert len(places) == ROWS
    for begins in (1000, 2400):
        Counted.read_bytes = 0
        assert passed(data, begins, places[begins])[0] == from_row(whole, begins)
        rest = sum(len(image) for image in from_row(whole, begins).values()) / len(data)
        assert Counted.read_bytes / len(data) < rest + 0.6, "and two reads of a buffer"
        table = opened(data)
        spans = [
            one
            for one in pass_rows(table, Columns("image"), begins, 2**20, 2**20, places[begins])
            if isinstance(one, Spans)
        ]
        [[(begin, size)]] = [one.spans for one in spans]
        assert begin == places[begins].begin
        assert size < (rest + 0.05) * len(data)


@pytest.mark.parametrize(
    "change",
    [{"begin": -1}, {"begin": 2**70}, {"skip": -1}, {"skip": 2**20}, {"end": 5}, {"values": 0}, {"follows": 17}],
    ids=str,
)
@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_a_place_that_is_none_of_the_chunk_is_not_used(change: dict[str, int], compression: str) -> None:
    data = written(IMAGES[:100], compression=compression, use_dictionary=False)
    whole, places = passed(data)
    assert passed(data, 40, places[40]._replace(**change))[0] == from_row(whole, 40)


def integer(number: int) -> bytes:
    """As Thrift writes it."""
    number, found = number << 1, bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def test_a_page_of_values_behind_a_dictionary_is_not_taken_for_numbers() -> None:
    """It begins like one: a width of 8 bits, and one number 0."""
    image = bytes(0x208)
    schema = pa.schema([pa.field("image", pa.binary(), nullable=False)])
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [image]}, schema), file, compression="none", use_dictionary=False)
    data = file.getvalue()
    chunk = pq.read_metadata(file).row_group(0).column(0)
    value = len(b"DICT").to_bytes(4, "little") + b"DICT"
    size = integer(len(value))
    page = b"\x15\x04\x15" + size + b"\x15" + size + b"\x4c\x15\x02\x15\0\0\0" + value
    begin = chunk.data_page_offset
    end = begin + chunk.total_compressed_size
    reader = Counted(page + data[begin:end])
    values = Values(tables.opened(reader, 10_000), Chunk(0, len(page) + end - begin, STORED, 0))
    with pytest.raises(UnusualPageError, match="no numbers behind its dictionary"):
        values.next()


def test_a_page_that_ends_early_gives_nothing_of_what_is_behind_it() -> None:
    data = bytearray(written(IMAGES[:3], compression="snappy", use_dictionary=False))
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
    begin, size = chunk.data_page_offset, chunk.total_compressed_size
    header = page_header(bytes(data[begin : begin + size]))
    places = passed(bytes(data))[1]
    values = Values(io.BytesIO(data), Chunk(begin, begin + size, SNAPPY, 1), places[2]._replace(end=begin + size - 2))
    assert places[2].end == begin + header.header_bytes + header.packed
    with pytest.raises(UnusualPageError, match="a page ends early"):
        values.next()


def test_after_any_error_arrow_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(IMAGES[:100], use_dictionary=False, row_group_size=40)
    read, calls = Values.next, itertools.count()

    def failing(self: Values) -> bytes:
        found = read(self)
        if next(calls) == 10:
            raise RuntimeError("as it was told")
        return found

    monkeypatch.setattr(Values, "next", failing)
    found, places = passed(data)
    assert list(found.values()) == IMAGES[:100]
    assert list(places) == [*range(10), *range(40, 100)]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_pages_give_what_arrow_gives(found: st.DataObject) -> None:
    """Where Arrow reads a row it is the same; where it does not, it may be there, since fewer are read at once."""
    compression = found.draw(st.sampled_from(["none", "snappy"]))
    data = bytearray(written(IMAGES[:300], use_dictionary=found.draw(st.booleans()), compression=compression))
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    at = found.draw(st.integers(begin, begin + 200) | st.integers(begin, begin + chunk.total_compressed_size - 1))
    data[at] = found.draw(st.integers(0, 255))
    ours, _ = passed(bytes(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ParquetTable, "values", lambda *_: None)
        of_arrow, _ = passed(bytes(data))
    assert ours.keys() == of_arrow.keys()
    for row, image in ours.items():
        assert image == of_arrow[row] or not isinstance(of_arrow[row], bytes)
