"""Manifests too large to be listed at once: pieces of them, and which parts of an output these go into."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources import manifest_parts
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.corpus import BEYOND_LIMIT, Corpus
from beamscribe.pipelines.sources.manifest_parts import assign, columns_of, cut, divided
from beamscribe.pipelines.sources.manifests import manifest_files, read_manifests, read_pieces
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.schemas.keep import parse_keep
from beamscribe.schemas.output_parts import OutputPart, parts_from_json, parts_to_json
from beamscribe.schemas.table import NewerSchemaError

pytestmark = pytest.mark.slow

GROUPS = st.lists(st.integers(0, 12), max_size=30)


@given(GROUPS, st.integers(1, 20))
def test_each_row_group_is_in_one_piece(groups: list[int], most: int) -> None:
    pieces = list(cut("m.parquet", groups, most))
    assert sum(piece.rows for piece in pieces) == sum(groups)
    for piece in pieces:
        of_piece = groups[piece.first : piece.first + piece.groups]
        assert (piece.rows, piece.row) == (sum(of_piece), sum(groups[: piece.first]))
        assert piece.rows <= most or sum(1 for rows in of_piece if rows) == 1
    held = [number for piece in pieces for number in range(piece.first, piece.first + piece.groups) if groups[number]]
    assert held == [number for number, rows in enumerate(groups) if rows]


FILES = st.dictionaries(st.sampled_from("abcdef"), GROUPS, max_size=6)


@given(FILES, FILES, st.integers(1, 40))
def test_a_piece_stays_in_its_part(files: dict[str, list[int]], later: dict[str, list[int]], most: int) -> None:
    def of(files: dict[str, list[int]], earlier: list[OutputPart]) -> list[OutputPart]:
        return assign([piece for uri, groups in files.items() for piece in cut(uri, groups, most)], earlier, most)

    before = of(files, [])
    after = of(later, before)
    for parts, asked in ((before, files), (after, later)):
        pieces = [piece for part in parts for piece in part.wanted]
        assert Counter(pieces) == Counter(piece for uri, groups in asked.items() for piece in cut(uri, groups, most))
        assert [part.number for part in parts] == list(range(len(parts)))
    places = {(piece.uri, piece.first): part.number for part in before for piece in part.pieces}
    for part in after:
        for piece in part.pieces:
            assert places.get((piece.uri, piece.first), part.number) == part.number
    assert of(later, after) == after
    assert all(part.rows <= most or len(part.wanted) == 1 for part in before)
    assert parts_from_json(parts_to_json(after), "parts.json") == after


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"{", "is damaged"),
        (b'{"schema_version": 1, "parts": [[["m", 0, 1, 0, "7"]]]}', "is damaged"),
        (b'{"schema_version": 1, "parts": [[["m", 0]]]}', "is damaged"),
        (b'{"schema_version": 1, "parts": 7}', "is damaged"),
    ],
)
def test_damaged_parts_are_told(data: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parts_from_json(data, "parts.json")


def test_newer_parts_are_refused() -> None:
    with pytest.raises(NewerSchemaError, match=r"parts.json has schema version 2"):
        parts_from_json(b'{"schema_version": 2, "parts": []}', "parts.json")


def manifest(path: Path, rows: range, group: int = 4, **columns: Any) -> str:
    table = pa.table({"url": [f"/photos/{row}.jpg" for row in rows], "width": [row * 1.5 for row in rows], **columns})
    pq.write_table(table, path, row_group_size=group)
    return str(path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifests of more than 20 rows are too large."""
    for name, size in (("MOST_LISTED", 20), ("PART_ROWS", 10), ("LEAST_BYTES", 1)):
        monkeypatch.setattr(manifest_parts, name, size)


@pytest.mark.usefixtures("small")
def test_pieces_list_what_manifests_list(tmp_path: Path) -> None:
    paths = [manifest(tmp_path / "a.parquet", range(17)), manifest(tmp_path / "b.parquet", range(17, 30), 5)]
    parts = divided(manifest_files([str(tmp_path / "*.parquet")], {}).files, {})
    assert [[(piece.uri[-9:], piece.row, piece.rows) for piece in part.pieces] for part in parts] == [
        [("a.parquet", 0, 8)],
        [("a.parquet", 8, 9)],
        [("b.parquet", 0, 10)],
        [("b.parquet", 10, 3)],
    ]
    keeps = parse_keep("width,source=url")
    corpora = [read_manifests(paths, Columns(), {}, keeps=keeps)]
    corpora += [read_pieces(part.pieces, Columns(), {}, keeps) for part in parts]
    whole, *of_parts = map(listed, corpora)
    assert [one for part in of_parts for one in part] == whole
    assert whole[20] == ("file:///photos/20.jpg", {"width": 30.0, "source": "/photos/20.jpg"})
    assert len(read_pieces(parts[1].pieces, Columns(), {}, most=3).references) == 3


def listed(corpus: Corpus) -> list[tuple[str, dict[str, Any]]]:
    """URIs of a corpus, each with what is kept of its row."""
    assert corpus.kept
    corpus.kept.resolve(pa.schema([]))
    numbers = np.array([one.kept for one in corpus.references])
    rows = [row.select(["width", "source"]).to_pylist()[0] for row in corpus.kept.values(numbers)]
    return [(one.uri, row) for one, row in zip(corpus.references, rows, strict=True)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("limit", [1, 4, 6, 19, 30, 99])
def test_a_limit_reads_the_first_rows_of_large_manifests(tmp_path: Path, limit: int) -> None:
    paths = [manifest(tmp_path / "a.parquet", range(17)), manifest(tmp_path / "b.parquet", range(17, 30), 5)]
    if limit < 17:
        # What is behind the limit is not read.
        data = Path(paths[1]).read_bytes()
        Path(paths[1]).write_bytes(data[:4] + b"\xff" * 40 + data[44:])
    keeps = parse_keep("width,source=url")
    corpus = read_manifests(paths, Columns(), {}, limit, keeps)
    wanted = [(f"file:///photos/{row}.jpg", {"width": row * 1.5, "source": f"/photos/{row}.jpg"}) for row in range(30)]
    assert listed(corpus) == wanted[:limit]
    assert (corpus.listed, corpus.skipped) == (30, {BEYOND_LIMIT: 30 - limit} if limit < 30 else {})


@pytest.mark.usefixtures("small")
def test_kept_columns_are_those_of_all_manifests_where_a_limit_reads_one(tmp_path: Path) -> None:
    paths = [manifest(tmp_path / "a.parquet", range(17), n=range(17)), str(tmp_path / "b.parquet")]
    manifest(tmp_path / "b.parquet", range(17, 30), n=[0.5] * 13, only=["here"] * 13)
    kept = read_manifests(paths, Columns(), {}, 3, parse_keep("n,only")).kept
    assert kept
    schema = kept.resolve(pa.schema([]))
    assert (schema.field("n").type, schema.field("only").type) == (pa.float64(), pa.string())


@pytest.mark.usefixtures("small")
def test_rows_that_damage_hides_are_not_beyond_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = manifest(tmp_path / "a.parquet", range(30))
    rows = TableProcess.rows

    def ending_early(*args: Any) -> Iterator[Any]:
        yield from itertools.islice(rows(*args), 2)
        raise TableError("it ended a process")

    monkeypatch.setattr(TableProcess, "rows", ending_early)
    corpus = read_manifests([path], Columns(), {}, 8)
    assert [one.member.detail for one in corpus.references if one.member] == [
        "the table is damaged; 4 rows of it could be listed: it ended a process"
    ]
    assert (corpus.listed, corpus.skipped) == (5 + 22, {BEYOND_LIMIT: 22})


@pytest.mark.usefixtures("small")
def test_rows_that_hold_images_keep_their_numbers(tmp_path: Path) -> None:
    path = str(tmp_path / "images.parquet")
    images = [b"\xff\xd8 photo %d" % number for number in range(25)]
    pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), path, row_group_size=10)
    parts = divided(manifest_files([path], {}).files, {})
    found = [one for part in parts for one in read_pieces(part.pieces, Columns(), {}).references]
    assert found == list(read_manifests([path], Columns(), {}).references)
    assert [read_reference(one, {}) for one in found] == images


@pytest.mark.usefixtures("small")
def test_few_rows_texts_and_damage_are_listed_at_once(tmp_path: Path) -> None:
    few = manifest(tmp_path / "few.parquet", range(20))
    many = manifest(tmp_path / "many.parquet", range(21))
    text, damaged = tmp_path / "list.txt", tmp_path / "damaged.parquet"
    text.write_text("/photos/1.jpg\n")
    damaged.write_bytes(Path(many).read_bytes()[:-9])
    for sources in ([few], [many, str(text)], [few, str(damaged)]):
        assert divided(manifest_files(sources, {}).files, {}) == []
    earlier = divided(manifest_files([many], {}).files, {})
    assert len(earlier) == 3
    assert sum(part.rows for part in divided(manifest_files([few], {}).files, {}, earlier)) == 20
    with pytest.raises(RefusedError, match=r"damaged\.parquet cannot be read"):
        divided(manifest_files([many, str(damaged)], {}).files, {})
    none = manifest(tmp_path / "none.parquet", range(0))
    for sources, why in (
        ([str(text)], "takes Parquet manifests"),
        ([str(damaged)], "cannot be read"),
        ([none], "has no rows"),
    ):
        with pytest.raises(RefusedError, match=why):
            divided(manifest_files(sources, {}).files, {}, earlier)


@pytest.mark.usefixtures("small")
def test_kept_columns_have_one_type_in_all_parts(tmp_path: Path) -> None:
    paths = []
    for name, columns in {"a": {"n": pa.array(range(9))}, "b": {"n": pa.array([0.5] * 9)}, "c": {}}.items():
        paths.append(str(tmp_path / f"{name}.parquet"))
        pq.write_table(pa.table({"url": [f"/{name}/{row}.jpg" for row in range(9)], **columns}), paths[-1])
    tables = columns_of(paths, Columns(), {}, ["n"])
    parts = divided(manifest_files(paths, {}).files, {})
    for part in parts:
        kept = read_pieces(part.pieces, Columns(), {}, parse_keep("n"), tables).kept
        assert kept
        assert kept.resolve(pa.schema([])).field("n").type == pa.float64()
    with pytest.raises(RefusedError, match="has no column of that name"):
        read_pieces(parts[0].pieces, Columns(), {}, parse_keep("m"), columns_of(paths, Columns(), {}, ["m"]))
    pq.write_table(pa.table({"photo": [1.5]}), paths[1])
    with pytest.raises(RefusedError, match=r"b\.parquet cannot be read"):
        columns_of(paths, Columns(), {}, ["n"])
