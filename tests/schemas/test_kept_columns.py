import datetime
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.schemas.keep import Keep, parse_keep
from beamscribe.schemas.kept_columns import (
    UnkeptTypeError,
    as_columns,
    from_details,
    is_unread,
    kept_field,
    kept_type,
    packed,
    row_of,
    shown,
    texts_of,
    to_text,
    unpacked,
    with_kept,
)
from beamscribe.schemas.stored import read_stored
from beamscribe.schemas.table import described, versioned

TYPES = {
    pa.string(): st.text(st.characters(exclude_categories=("Cs",)), max_size=5),
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    pa.timestamp("us", tz="Asia/Seoul"): st.datetimes(
        datetime.datetime(1950, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.just(datetime.UTC)
    ),
    pa.timestamp("ns"): st.integers(0, 2**60),
    pa.list_(pa.string()): st.lists(st.none() | st.just("x"), max_size=2),
    pa.struct([("x", pa.int32()), ("y", pa.list_(pa.float32()))]): st.fixed_dictionaries(
        {"x": st.none() | st.integers(0, 9), "y": st.none() | st.just([1.5, None])}
    ),
}


@st.composite
def tables(draw: Any) -> pa.Table:
    types = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=4))
    size = draw(st.integers(1, 3))
    columns = [draw(st.lists(st.none() | TYPES[dtype], min_size=size, max_size=size)) for dtype in types]
    fields = [kept_field(f"c{number}", dtype, f"s{number}") for number, dtype in enumerate(types)]
    return pa.table([pa.array(column, dtype) for column, dtype in zip(columns, types, strict=True)], pa.schema(fields))


@settings(deadline=None, max_examples=60)
@given(tables())
def test_values_travel_and_are_stored_as_they_were(table: pa.Table) -> None:
    kept = table.schema
    rows = [batch.slice(row, 1) for batch in table.to_batches() for row in range(batch.num_rows)]
    rows = unpacked(packed(rows))
    columns = as_columns([*rows, None], kept)
    assert pa.table(columns, kept).slice(0, len(rows)).equals(table)
    assert all(column[len(rows)].as_py() is None for column in columns)
    assert from_details({"kept_columns": to_text(kept)}).equals(kept, check_metadata=True)
    schema = with_kept(versioned([described("id", pa.string(), "an id")], 1), kept)
    file = io.BytesIO()
    pq.write_table(pa.table([["a"] * len(rows), *table.columns], schema), file)
    assert read_stored(file.getvalue(), "file", schema, 1).select(kept.names).equals(table)


def test_types_that_are_kept() -> None:
    text = pa.string()
    for given_type, expected in [
        (pa.dictionary(pa.int32(), text), text),
        (pa.string_view(), text),
        (pa.large_string(), pa.large_string()),
        (pa.list_(pa.dictionary(pa.int8(), text), 2), pa.list_(text)),
        (pa.struct([("a", pa.date64())]), pa.struct([("a", pa.date32())])),
        (pa.decimal128(9, 2), pa.decimal128(9, 2)),
        (pa.timestamp("ns", tz="UTC"), pa.timestamp("ns", tz="UTC")),
    ]:
        assert kept_type(given_type) == expected
    for other in (pa.binary(), pa.list_(pa.large_binary()), pa.map_(text, text), pa.month_day_nano_interval()):
        with pytest.raises(UnkeptTypeError):
            kept_type(other)


def test_a_row_of_values() -> None:
    fields = [("n", pa.int32()), ("taken", pa.timestamp("ns")), ("tags", pa.list_(pa.string()))]
    kept = pa.schema([kept_field(name, dtype, "n" if name == "n" else f"of_{name}") for name, dtype in fields])
    assert shown(kept) == "n:int32,taken=of_taken:timestamp[ns],tags=of_tags:list<item: string>"
    row = row_of({"n": "7", "taken": "2026-01-02T03:04:05"}, kept)
    assert texts_of(row) == {"n": "7", "taken": "2026-01-02T03:04:05", "tags": ""}
    assert [is_unread(one) for one in (row, row_of({"n": "many"}, kept), None)] == [False, True, False]
    for damaged in ("x", to_text(kept)[:-8]):
        with pytest.raises(ValueError, match="kept columns"):
            from_details({"kept_columns": damaged})
    with pytest.raises(ValueError, match="kept columns"):
        unpacked("AAAA")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("url, width:int64", (Keep("url", "url"), Keep("width", "width", "int64"))),
        ("source_id=id:string", (Keep("source_id", "id", "string"),)),
        ("dc:title,a:b:bool", (Keep("dc:title", "dc:title"), Keep("a:b", "a:b", "bool"))),
    ],
)
def test_what_is_asked_for(text: str, expected: tuple[Keep, ...]) -> None:
    assert parse_keep(text) == expected


@pytest.mark.parametrize("text", ["", "a,,b", "=a", "a=", "a,a", "a,a=b"])
def test_what_is_no_list_of_columns(text: str) -> None:
    with pytest.raises(ValueError, match=r"columns|more than once"):
        parse_keep(text)
