"""Rows read back from Parquet, whoever wrote the file."""

import io
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.schemas import caption_row
from beamscribe.schemas.stored import read_stored
from beamscribe.schemas.table import VERSION_KEY, NewerSchemaError, to_table
from tests.documents import CHECKOUT
from tests.training.made_captions import caption

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
SCHEMA = caption_row.SCHEMA
TABLE = to_table([caption(f"/{number}.jpg", "A dog.") for number in range(3)], SCHEMA)


def parquet(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()


def read(data: bytes, columns: list[str] | None = None) -> pa.Table:
    return read_stored(data, "x.parquet", SCHEMA, caption_row.VERSION, columns)


def replaced(name: str, values: pa.Array) -> pa.Table:
    """The table with another column in place of one, nulls permitted."""
    place = SCHEMA.get_field_index(name)
    return TABLE.set_column(place, pa.field(name, values.type), values)


def test_rows_come_back_in_the_types_of_the_schema() -> None:
    assert read(parquet(TABLE)).to_pylist() == TABLE.to_pylist()
    assert read(parquet(TABLE), ["id"]).column_names == ["id"]
    others = replaced("caption", pa.array(["A dog."] * 3, pa.large_string()).dictionary_encode())
    assert read(parquet(others)).schema.equals(SCHEMA)
    lists = replaced("flags", pa.array([["short"]] * 3, pa.large_list(pa.string())))
    assert read(parquet(lists))["flags"].to_pylist() == [["short"]] * 3


def test_what_older_files_lack_comes_as_nulls() -> None:
    old = parquet(TABLE.drop_columns(["repairs"]))
    found = read_stored(old, "x", SCHEMA, caption_row.VERSION, ["id"], ["repairs", "caption"])
    assert found["repairs"].null_count == 3
    assert found["caption"].to_pylist() == ["A dog."] * 3


STRUCT = pa.struct([("caption", pa.string()), ("score", pa.float32())])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.replace_schema_metadata({VERSION_KEY: b"99"}), "schema version 99"),
        (TABLE.replace_schema_metadata({}), "carries no Beamscribe schema version"),
        (TABLE.replace_schema_metadata({VERSION_KEY: b"two"}), "invalid literal"),
        (TABLE.drop_columns(["sha256"]), "has no column sha256"),
        (TABLE.append_column("id", pa.array(["1", "2", "3"])), "more than one column id"),
        (replaced("caption", pa.array(["A dog.", None, "x"])), "has a row without caption"),
        (replaced("id", pa.array([None, None, None], pa.string())), "has a row without id"),
        (replaced("flags", pa.array([["a"], [None], []], pa.list_(pa.string()))), "has a row without flags"),
        (
            replaced("alternatives", pa.array([[{"caption": None, "score": 1.0}]] * 3, pa.list_(STRUCT))),
            "has a row without alternatives.caption",
        ),
        (replaced("width", pa.array(["x", "y", "z"])), "is not readable Parquet"),
        (replaced("width", pa.array([2**40] * 3)), "is not readable Parquet"),
        (replaced("caption", pa.array([{"a": 1}] * 3)), "is not readable Parquet"),
        (replaced("caption", pa.array([b"\xff"] * 3, pa.binary())), "is not readable Parquet"),
        (replaced("score", pa.array([[1.0]] * 3)), "is not readable Parquet"),
    ],
)
def test_what_is_no_file_of_rows_is_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message) as found:
        read(parquet(table))
    assert "\n" not in str(found.value)
    assert isinstance(found.value, NewerSchemaError) == ("99" in message)


BIG = "x" * 1_000_000


def bombs() -> dict[str, pa.Table]:
    """Tables of some kilobytes as files and of gigabytes in memory."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), [BIG])
    lists = pa.ListArray.from_arrays(pa.array(range(20_001), pa.int32()), texts)
    columns = {name: pa.array(TABLE[name].to_pylist()[:1] * 20_000, TABLE[name].type) for name in TABLE.column_names}
    return {
        "text": pa.table(columns | {"caption": texts}, metadata=SCHEMA.metadata),
        "lists": pa.table(columns | {"flags": lists}, metadata=SCHEMA.metadata),
    }


def test_files_far_larger_than_their_size_are_refused_within_a_bound_of_memory(tmp_path) -> None:
    for name, table in bombs().items():
        data = parquet(table)
        assert len(data) < 2_000_000
        (tmp_path / name).write_bytes(data)
        script = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2)\n"
            "from beamscribe.schemas.stored import read_stored\n"
            "from beamscribe.schemas.caption_row import SCHEMA, VERSION\n"
            "try: read_stored(open(sys.argv[1], 'rb').read(), 'x', SCHEMA, VERSION)\n"
            "except ValueError as error: print(error)\n"
            "from tests.memory import peak_bytes; print(peak_bytes(), file=sys.stderr)"
        )
        command = [sys.executable, "-c", script, str(tmp_path / name)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
        assert ended.stdout.startswith("x would take more than"), ended.stderr
        assert int(ended.stderr.splitlines()[-1]) < 3 * 2**30


WHOLE = parquet(TABLE)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_damage_is_a_value_error(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged)
    try:
        read(cut)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - what is damaged may still be readable
