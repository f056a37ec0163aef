"""Typed rows to Parquet and back; every row type with any values that its types allow."""

import datetime
import io
import types
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.schemas import audio_row, caption_row, failure_row, speech_row
from beamscribe.schemas.audio_row import AudioRow
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.speech_row import SpeechRow
from beamscribe.schemas.table import (
    VERSION_KEY,
    NewerSchemaError,
    check_version,
    described,
    schema_version,
    to_table,
    versioned,
)

INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
TIMES = st.datetimes(timezones=st.just(datetime.UTC))
CAPTION_ROWS = st.builds(
    CaptionRow,
    image_uri=st.text(),
    id=st.text(),
    sha256=st.text(),
    width=INT32,
    height=INT32,
    caption=st.text(),
    flags=st.lists(st.text(), max_size=2).map(tuple),
    score=st.none() | FLOAT32,
    alternatives=st.lists(st.builds(Alternative, st.text(), st.none() | FLOAT32, st.none()), max_size=3).map(tuple),
    repairs=st.lists(st.text(), max_size=3).map(tuple),
    fingerprint=st.text(),
    run_started=TIMES,
    model=st.none() | st.text(),
    prompt_digest=st.none() | st.text(),
    tokens_in=st.none() | INT32,
    tokens_out=st.none() | INT32,
    finish_reason=st.none() | st.text(),
    confidence=st.none() | FLOAT32,
    structured=st.none(),
    kept=st.none(),
    file=st.none(),
)
SPEECH_ROWS = st.builds(
    SpeechRow,
    image_uri=st.text(),
    id=st.text(),
    caption=st.text(),
    audio_uri=st.text(),
    audio_member=st.none() | st.text(),
    audio_key=st.text(),
    sha256=st.text(),
    duration_seconds=FLOAT32,
    sample_rate=INT32,
    channels=INT32,
    bytes=INT64,
    loudness_lufs=st.none() | FLOAT32,
    engine=st.text(),
    voice=st.text(),
    fingerprint=st.text(),
    run_started=TIMES,
)
FAILURE_ROWS = st.builds(
    FailureRow,
    image_uri=st.text(),
    id=st.text(),
    stage=st.text(),
    error_type=st.text(),
    message=st.text(),
    attempts=INT32,
    run_started=TIMES,
)
MODULES = [caption_row, speech_row, failure_row, audio_row]
NULLABLE = ("audio_member", "loudness_lufs")
OF_OTHER_CAPTIONERS = ("score", "model", "prompt_digest", "tokens_in", "tokens_out", "finish_reason", "confidence")
"""Columns of captions that not every captioner fills."""
ROW_TYPES: dict[Any, Any] = {
    caption_row: CaptionRow,
    speech_row: SpeechRow,
    failure_row: FailureRow,
    audio_row: AudioRow,
}


def through_parquet(rows: list[Any], schema: pa.Schema) -> pa.Table:
    file = io.BytesIO()
    pq.write_table(to_table(rows, schema), file)
    return pq.read_table(io.BytesIO(file.getvalue()))


def as_caption_row(row: dict[str, Any]) -> CaptionRow:
    alternatives = tuple(Alternative(**alternative) for alternative in row.pop("alternatives"))
    return CaptionRow(
        **row | {"alternatives": alternatives, "repairs": tuple(row["repairs"]), "flags": tuple(row["flags"])}
    )


@given(st.lists(CAPTION_ROWS, max_size=4))
def test_caption_rows_come_back(rows: list[CaptionRow]) -> None:
    table = through_parquet(rows, caption_row.SCHEMA)
    assert [as_caption_row(row) for row in table.to_pylist()] == rows
    assert schema_version(table.schema) == caption_row.VERSION


@given(st.lists(SPEECH_ROWS, max_size=4))
def test_speech_rows_come_back(rows: list[SpeechRow]) -> None:
    table = through_parquet(rows, speech_row.SCHEMA)
    assert [SpeechRow(**row) for row in table.to_pylist()] == rows
    assert schema_version(table.schema) == speech_row.VERSION


@given(st.lists(FAILURE_ROWS, max_size=4))
def test_failure_rows_come_back(rows: list[FailureRow]) -> None:
    table = through_parquet(rows, failure_row.SCHEMA)
    assert [FailureRow(**row) for row in table.to_pylist()] == rows
    assert schema_version(table.schema) == failure_row.VERSION


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.FOLDER)
def test_columns_are_the_fields_in_order_each_described_and_seldom_null(module: types.ModuleType) -> None:
    # A structured answer and what is kept of the source are columns only of the jobs that ask for them; a file is none.
    fields = tuple(name for name in ROW_TYPES[module]._fields if name not in (caption_row.STRUCTURED, "kept", "file"))
    assert tuple(module.SCHEMA.names) == fields
    for field in module.SCHEMA:
        assert field.metadata[b"description"]
        nullable = (*NULLABLE, *(OF_OTHER_CAPTIONERS if module is caption_row else ()))
        assert field.nullable == (field.name in nullable)
    read = through_parquet([], module.SCHEMA).schema
    assert read.equals(module.SCHEMA)
    first = module.SCHEMA.names[0]
    assert read.field(first).metadata[b"description"] == module.SCHEMA.field(first).metadata[b"description"]


def test_types_that_others_rely_on() -> None:
    caption, speech, failure, _ = (module.SCHEMA for module in MODULES)
    assert [(field.name, str(field.type)) for field in caption] == [
        ("image_uri", "string"),
        ("id", "string"),
        ("sha256", "string"),
        ("width", "int32"),
        ("height", "int32"),
        ("caption", "string"),
        ("flags", "list<item: string>"),
        ("score", "float"),
        ("alternatives", "list<item: struct<caption: string not null, score: float>>"),
        ("repairs", "list<item: string>"),
        ("fingerprint", "string"),
        ("run_started", "timestamp[us, tz=UTC]"),
        ("model", "string"),
        ("prompt_digest", "string"),
        ("tokens_in", "int32"),
        ("tokens_out", "int32"),
        ("finish_reason", "string"),
        ("confidence", "float"),
    ]
    assert {field.name: str(field.type) for field in speech if str(field.type) != "string"} == {
        "duration_seconds": "float",
        "sample_rate": "int32",
        "channels": "int32",
        "bytes": "int64",
        "loudness_lufs": "float",
        "run_started": "timestamp[us, tz=UTC]",
    }
    assert {field.name: str(field.type) for field in failure if str(field.type) != "string"} == {
        "attempts": "int32",
        "run_started": "timestamp[us, tz=UTC]",
    }


class Inner(NamedTuple):
    depth: int


class Outer(NamedTuple):
    name: str
    inner: Inner
    items: tuple[Inner, ...]


INNER = pa.struct([("depth", pa.int32())])
SCHEMA = versioned([described("name", pa.string(), "x"), described("inner", INNER, "y"), ("items", pa.list_(INNER))], 7)


def test_nested_rows_become_structs() -> None:
    table = to_table(iter([Outer("a", Inner(1), (Inner(2), Inner(3))), Outer("b", Inner(4), ())]), SCHEMA)
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert table.to_pylist() == [
        {"name": "a", "inner": {"depth": 1}, "items": [{"depth": 2}, {"depth": 3}]},
        {"name": "b", "inner": {"depth": 4}, "items": []},
    ]


@pytest.mark.parametrize("wrong", [{"attempts": "many"}, {"attempts": 2**31}, {"id": 7}, {"run_started": "today"}])
def test_a_value_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    row = FailureRow("u", "1", "read", "Gone", "m", 1, datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC))
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)):
        to_table([row._replace(**wrong)], failure_row.SCHEMA)


def test_a_null_never_reaches_a_file() -> None:
    row = FailureRow("u", None, "read", "Gone", "m", 1, datetime.datetime.now(datetime.UTC))  # type: ignore[arg-type]
    with pytest.raises((pa.ArrowInvalid, ValueError), match="null"):
        through_parquet([row], failure_row.SCHEMA)


def test_scores_are_single_precision() -> None:
    table = to_table([Alternative("a", 0.1)], pa.schema([("caption", pa.string()), ("score", pa.float32())]))
    assert table.column("score").to_pylist() == [float(np.float32(0.1))]


@pytest.mark.parametrize(("found", "known"), [(1, 1), (1, 2), (0, 1)])
def test_versions_up_to_the_known_one_pass(found: int, known: int) -> None:
    check_version("x", found, known)


def test_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(NewerSchemaError) as caught:
        check_version("captions/a.parquet", 3, 2)
    assert str(caught.value) == (
        "captions/a.parquet has schema version 3, this Beamscribe reads up to 2: upgrade Beamscribe to read it"
    )


def test_the_version_is_in_the_files_metadata() -> None:
    file = io.BytesIO()
    pq.write_table(to_table([], SCHEMA), file)
    metadata = pq.read_metadata(io.BytesIO(file.getvalue())).metadata
    assert metadata[b"beamscribe.schema_version"] == b"7"
    assert schema_version(pq.read_schema(io.BytesIO(file.getvalue()))) == 7


@pytest.mark.parametrize("metadata", [None, {}, {b"other": b"1"}])
def test_a_file_of_someone_else_has_no_version(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(ValueError, match="Beamscribe did not write it"):
        schema_version(pa.schema([("a", pa.int32())], metadata=metadata))


@pytest.mark.parametrize("value", [b"", b"one", b"1.5"])
def test_a_version_that_is_no_number(value: bytes) -> None:
    with pytest.raises(ValueError, match="int"):
        schema_version(pa.schema([], metadata={VERSION_KEY: value}))
