"""Columns of manifests that are kept, from the listing to the shards."""

import io
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources import kept_spool
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.json_types import JsonType
from beamscribe.pipelines.sources.manifests import read_manifests
from beamscribe.pipelines.work.shards import PendingItem, make_shard
from beamscribe.schemas.keep import parse_keep
from beamscribe.schemas.kept_columns import UNREAD, kept_field

NOTHING = pa.schema([])


def corpus_of(keeps: str, *manifests: Path, id_column: str | None = None) -> Corpus:
    columns = Columns(None, id_column)
    return read_manifests([str(one) for one in manifests], columns, {}, keeps=parse_keep(keeps))


def kept_of(corpus: Corpus, earlier: pa.Schema = NOTHING) -> dict[str, tuple[Any, ...]]:
    """Values by the name of the image, and at last whether one could not be read."""
    assert corpus.kept is not None
    names = corpus.kept.resolve(earlier).names
    shard = corpus.kept.filled(make_shard("s", map(PendingItem, corpus.references)))
    found = {}
    for item in shard.todo:
        assert item.reference.kept is None
        if item.reference.member is not None:
            # A row that becomes a failure.
            assert item.kept is None
            continue
        assert item.kept is not None
        assert item.kept.schema.names == [*names, UNREAD]
        found[item.reference.uri.rpartition("/")[2]] = tuple(column[0].as_py() for column in item.kept.columns)
    return found


def types_of(corpus: Corpus, earlier: pa.Schema = NOTHING) -> list[str]:
    assert corpus.kept is not None
    return [str(field.type) for field in corpus.kept.resolve(earlier)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_spool, "ROWS_HELD", 2)


def test_values_of_csv_are_texts_unless_a_type_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('url,w,license\na.jpg,007,"by, sa"\nb.jpg,wide,\nc.jpg,,cc0\nd.jpg\n\nbad::x,1,1,1\n')
    corpus = corpus_of("w,license", path)
    assert types_of(corpus) == ["string", "string"]
    assert kept_of(corpus) == {
        "a.jpg": ("007", "by, sa", False),
        "b.jpg": ("wide", None, False),
        "c.jpg": (None, "cc0", False),
        "d.jpg": (None, None, False),
    }
    corpus = corpus_of("width2=w:int32,license:bool", path)
    assert types_of(corpus) == ["int32", "bool"]
    found = kept_of(corpus)
    assert [found[f"{name}.jpg"] for name in "abcd"] == [
        *((7, None, True), (None, None, True), (None, None, True), (None, None, False))
    ]


def test_a_column_of_json_has_one_type(tmp_path: Path) -> None:
    rows = [
        {"url": "a.jpg", "n": 1, "x": 1, "s": "1", "l": [1], "o": {"a": 1}, "t": True, "late": None},
        {"url": "b.jpg", "n": 2, "x": 1.5, "s": 2, "l": None, "o": None, "t": None},
        {"url": "c.jpg", "n": None, "x": None, "s": {"é": 1}, "l": [2.5, None], "late": "x"},
        "d.jpg",
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = corpus_of("n,x,s,l,o,t,late", path)
    assert types_of(corpus) == ["int64", "double", "string", "list<item: double>", "string", "bool", "string"]
    assert kept_of(corpus) == {
        "a.jpg": (1, 1.0, "1", [1.0], '{"a": 1}', True, None, False),
        "b.jpg": (2, 1.5, "2", None, None, None, None, False),
        "c.jpg": (None, None, '{"é": 1}', [2.5, None], None, None, "x", False),
        "d.jpg": (None,) * 7 + (False,),
    }
    # An output that was begun with a wider type keeps it; a type that the values do not fit is another one.
    earlier = pa.schema([kept_field("n", pa.float64(), "n"), kept_field("x", pa.int8(), "x")])
    assert types_of(corpus, earlier)[:2] == ["double", "double"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], "null"),
        ([1, 2**63], "string"),
        ([True, 1], "string"),
        ([[], []], "list<item: string>"),
        ([[1], ["a"]], "string"),
        ([[[1]]], "string"),
        ([[{}]], "string"),
        ([[True], [None]], "list<item: bool>"),
    ],
)
def test_types_of_json(values: list[Any], expected: str) -> None:
    found = JsonType()
    for value in values:
        found.see(value)
    assert str(found.dtype) == expected


@pytest.mark.slow
def test_manifests_of_several_kinds_share_a_column(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"url": ["a.jpg", "b.jpg", "c.jpg"], "n": pa.array([1, None, 3], pa.int16())}), tmp_path / "1.pq"
    )
    pq.write_table(pa.table({"url": ["d.jpg"], "n": pa.array([1.5], pa.float32())}), tmp_path / "2.parquet")
    (tmp_path / "3.jsonl").write_text('{"url": "e.jpg", "n": 7}\n{"url": "f.jpg"}\n')
    pq.write_table(pa.table({"url": ["g.jpg"], "n": pa.nulls(1)}), tmp_path / "4.parquet")
    pq.write_table(pa.table({"url": ["h.jpg"], "m": [1]}), tmp_path / "5.parquet")
    (tmp_path / "6.csv").write_text("url\ni.jpg\n")
    manifests = [tmp_path / name for name in ("1.pq", "2.parquet", "3.jsonl", "4.parquet", "5.parquet", "6.csv")]
    corpus = corpus_of("n", *manifests)
    assert types_of(corpus) == ["double"]
    expected = dict(zip("abcdefghi", (1.0, None, 3.0, 1.5, 7.0, None, None, None, None), strict=True))
    found = kept_of(corpus)
    assert {name[0]: values[0] for name, values in found.items()} == expected
    # What a manifest does not have is null, and was not to be read.
    assert not any(unread for _, unread in found.values())
    (tmp_path / "7.csv").write_text("url,n\nj.jpg,12\n")
    assert kept_of(corpus_of("n:int64", *manifests, tmp_path / "7.csv"))["j.jpg"] == (12, False)
    with pytest.raises(RefusedError, match="double|int16.*string in .*declare one type for all, as n:string"):
        types_of(corpus_of("n", *manifests, tmp_path / "7.csv"))


def test_values_that_are_stored_once_for_many_rows(tmp_path: Path) -> None:
    """Run-end encoded, which Arrow files can hold and Parquet cannot."""
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 5], pa.int32()), pa.array(["x", None, "y"]))
    table = pa.table({"url": [f"{name}.jpg" for name in "abcde"], "n": runs})
    with pa.ipc.new_file(str(tmp_path / "m.arrow"), table.schema) as file:
        file.write_table(table)
    corpus = corpus_of("n", tmp_path / "m.arrow")
    assert types_of(corpus) == ["string"]
    expected = zip("abcde", ("x", "x", None, "y", "y"), strict=True)
    assert kept_of(corpus) == {f"{name}.jpg": (value, False) for name, value in expected}


@pytest.mark.slow
def test_values_of_tables_that_are_read_side_by_side_go_to_their_own_rows() -> None:
    """Tables of different lengths in a store, of which one lacks the column."""
    files = fsspec.filesystem("memory")
    expected: dict[str, tuple[Any, ...]] = {}
    for number in range(8):
        names = [f"{number}-{row}.jpg" for row in range(3 * number + 1)]
        columns = {"url": names}
        if number != 3:
            columns["text"] = [f"{name} of {number}" for name in names]
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer, row_group_size=4)
        files.pipe(f"/side-by-side/{number}.parquet", buffer.getvalue())
        expected |= {name: (f"{name} of {number}" if "text" in columns else None, False) for name in names}
    corpus = read_manifests(["memory://side-by-side/*.parquet"], Columns(None, None), {}, keeps=parse_keep("text"))
    assert kept_of(corpus) == expected


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("url,licence,n,n\na.jpg,x,1,2\n")
    pq.write_table(pa.table({"url": ["a.jpg"], "image": [b"x"]}), tmp_path / "m.parquet")
    (tmp_path / "m.txt").write_text("a.jpg\n")
    for keeps, name, message in [
        ("license", "m.csv", "no column of that name, the nearest is licence; there are url, licence"),
        ("n", "m.csv", "more than one column with the name n"),
        ("image", "m.parquet", "holds binary: numbers, texts"),
        ("license", "m.txt", "is a list of URIs, which has no columns"),
    ]:
        with pytest.raises(RefusedError, match=message):
            corpus_of(keeps, tmp_path / name)


@pytest.mark.slow
def test_rows_of_a_damaged_table_are_null_and_told(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    count = 40
    table = pa.table({"url": [f"{n}.jpg" for n in range(count)], "n": [f"value {n} " * 50 for n in range(count)]})
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    place = data.index(b"value 15 ")
    data[place - 4 : place] = b"\xff\xff\xff\x7f"
    path.write_bytes(bytes(data))
    (tmp_path / "n.jsonl").write_text('{"url": "last.jpg", "n": "whole"}\n')
    found = kept_of(corpus_of("n", path, tmp_path / "n.jsonl"))
    assert len(found) == count + 1
    assert found["last.jpg"] == ("whole", False)
    assert found["9.jpg"] == (f"value {9} " * 50, False)
    assert found["39.jpg"] == (f"value {39} " * 50, False)
    assert found["19.jpg"] == (None, True)
