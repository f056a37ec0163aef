"""`caption --manifest` of remote tables that hold images: what workers go through is what a list of the rows gives."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import DONE, REFUSED, STOPPED
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.outputs.verify import inspect, verify
from beamscribe.pipelines.sources import table_containers
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.manifests import manifest_files
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.storage.output_reader import manifest_of
from beamscribe.storage.storage import Storage
from tests.documents import CHECKOUT
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import captions_of
from tests.pipelines.runtime.test_containers_gone_through import go, rows_of
from tests.pipelines.sources.test_table_passing import PLAIN, damaged, held, parquet

pytestmark = pytest.mark.slow


def png(light: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), light, np.uint8)).save(file, "PNG")
    return file.getvalue()


PHOTOGRAPHS = [png(60 + 10 * number) for number in range(12)]


@pytest.fixture
def captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The class in the documents, where it can be imported."""
    text = (CHECKOUT / "docs" / "captioners.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Brightness" in block]
    (tmp_path / "brightness.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "brightness", raising=False)
    return "brightness:Brightness"


def put(memory: Storage, tables: dict[str, bytes]) -> str:
    """Stores tables; gives what names all of them."""
    for name, data in tables.items():
        memory.write(f"in/{name}.parquet", data)
    return memory.uri("in/*.parquet")


def caption(source: str, output: Path, captioner: str, *flags: str) -> int:
    return main(
        [
            "caption",
            "--manifest",
            source,
            "--output",
            str(output),
            "--captioner",
            captioner,
            "--shard-size",
            "3",
            *flags,
        ]
    )


def told(output: Path) -> tuple[list[Any], list[Any]]:
    """Rows, and failures with their messages."""
    columns: Sequence[Sequence[str]] = (
        ["id", "image_uri", "sha256", "caption"],
        ["id", "image_uri", "stage", "error_type", "message"],
    )
    found = []
    for folder, names in zip(("captions", "failures"), columns, strict=True):
        rows = ds.dataset(output / folder).to_table(list(names)).to_pylist() if (output / folder).exists() else []
        found.append(sorted(map(repr, rows)))
    return found[0], found[1]


def odd_tables(memory: Storage) -> dict[str, bytes]:
    memory.write("in/a.png", PHOTOGRAPHS[0])
    loose = memory.uri("in/a.png")
    first = [PHOTOGRAPHS[1], None, loose, PHOTOGRAPHS[2], "htp://x/1", b"no image", PHOTOGRAPHS[3]]
    return {
        "a": held(first, [f"id {number}" for number in range(6)] + [None]),
        "b": damaged(held(PHOTOGRAPHS[4:10], **PLAIN), PHOTOGRAPHS[8][:60]),
        "c": held([PHOTOGRAPHS[10], "a.png", "a.png", PHOTOGRAPHS[11]]),
    }


def test_rows_are_those_of_a_list(captioner: str, memory: Storage, tmp_path: Path, capsys: Any) -> None:
    source = put(memory, odd_tables(memory))
    passed, listed = tmp_path / "passed", tmp_path / "listed"
    assert caption(source, listed, captioner, "--list-members") == DONE
    assert not (listed / FOLDER).exists()
    assert caption(source, passed, captioner) == DONE
    assert (passed / FOLDER).exists()
    rows, failures = told(passed)
    assert (rows, failures) == told(listed)
    assert len(failures) >= 4
    one, other = manifest_of(Storage(str(passed))), manifest_of(Storage(str(listed)))
    for name in ("references", "repeated", "skipped", "listed"):
        assert getattr(one, name) == getattr(other, name), name
    assert verify(Storage(str(passed))) == verify(Storage(str(listed)))
    capsys.readouterr()
    assert main(["status", str(passed), "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["archives"], found["archives_read"], found["todo"]) == (3, 3, 0)
    # Photographs are found again, and failures are tried again, as of a list.
    for output in (passed, listed):
        assert main(["export", str(output), "--output", f"{output}.tars", "--to", "webdataset"]) == DONE
        assert main(["report", str(output), "--output", f"{output}.html"]) == DONE
        assert caption(source, output, captioner, "--retry-failed") == DONE
    assert (tmp_path / "passed.html").read_text().count("data:image") == (tmp_path / "listed.html").read_text().count(
        "data:image"
    )
    assert told(passed) == told(listed)
    assert caption(source, passed, captioner, "--list-members") == DONE
    assert told(passed) == told(listed)


def test_an_output_that_a_list_began_goes_on(captioner: str, memory: Storage, tmp_path: Path) -> None:
    source = put(memory, odd_tables(memory))
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    assert caption(source, whole, captioner) == DONE
    # Of the first table some rows, of which one names a file.
    assert caption(source, begun, captioner, "--limit", "4") == DONE
    assert caption(source, begun, captioner) == DONE
    assert told(begun) == told(whole)
    assert verify(Storage(str(begun))).findings == ()


def test_files_that_rows_name_are_not_done_twice_though_nothing_else_was_done(
    captioner: str, memory: Storage, tmp_path: Path
) -> None:
    memory.write("in/a.png", PHOTOGRAPHS[0])
    source = put(memory, {"a": held(["a.png", PHOTOGRAPHS[1]])})
    assert caption(source, tmp_path / "out", captioner, "--limit", "1") == DONE
    assert caption(source, tmp_path / "out", captioner) == DONE
    assert verify(Storage(str(tmp_path / "out"))) == (2, 0, 0, ())


def test_the_layout_of_webdataset(captioner: str, memory: Storage, tmp_path: Path) -> None:
    source = put(memory, {"a": held([*PHOTOGRAPHS[:4], None])})
    assert caption(source, tmp_path / "out", captioner, "--layout", "webdataset") == DONE
    assert len(list((tmp_path / "out").glob("**/*.tar"))) == 2
    assert verify(Storage(str(tmp_path / "out"))) == (4, 1, 0, ())


def test_a_plan_looks_into_one_table(captioner: str, memory: Storage, tmp_path: Path, capsys: Any) -> None:
    source = put(memory, {name: held(PHOTOGRAPHS) for name in "abc"})
    assert caption(source, tmp_path / "out", captioner, "--plan") == DONE
    out = capsys.readouterr().out
    assert "about 36 of 36 to do" in out
    assert re.search(r"tables  3 tables, .* with as many images as the first 12 of memory://.*parquet let expect", out)


def test_an_id_of_two_tables(captioner: str, memory: Storage, tmp_path: Path, capsys: Any) -> None:
    """The image of the later table gets an id of its own; nothing is lost, merged or there twice."""
    tables = {
        "a": held(PHOTOGRAPHS[:2], ["1", "7"]),
        "b": held(PHOTOGRAPHS[2:4], ["7", "8"]),
        "c": held([PHOTOGRAPHS[4], b"no image"], ["8", "7"]),
    }
    source, output = put(memory, tables), tmp_path / "out"
    assert caption(source, output, captioner) == STOPPED
    told_here = capsys.readouterr()
    assert "6 in the corpus: 3 done, 0 failed, 3 to do" in told_here.out
    assert "3 images have the id of an image of another table" in told_here.err
    assert verify(Storage(str(output))) == (3, 0, 3, ())
    assert caption(source, output, captioner) == DONE
    assert verify(Storage(str(output))) == (5, 1, 0, ())
    rows = {row["id"]: row for row in ds.dataset(output / "captions").to_table().to_pylist()}
    uris = {id: row["image_uri"].rpartition("/")[2] for id, row in rows.items()}
    assert uris == {
        "1": "a.parquet::0",
        "7": "a.parquet::1",
        "7#2": "b.parquet::0",
        "8": "b.parquet::1",
        "8#2": "c.parquet::0",
    }
    [failure] = ds.dataset(output / "failures").to_table().to_pylist()
    assert failure["id"] == "7#3"
    before = told(output)
    assert caption(source, output, captioner) == DONE
    assert told(output) == before


@pytest.mark.parametrize("operations", [6, 11, 14, 17, 20, 24])
def test_an_id_of_two_tables_after_a_kill(operations: int, memory: Storage) -> None:
    """Whichever table was gone through by then."""
    put(memory, {"a": held(PHOTOGRAPHS[:4], list("1234")), "b": held(PHOTOGRAPHS[4:8], list("4378"))})
    uris = [memory.uri(f"in/{name}.parquet") for name in "ab"]
    output = DyingStorage(f"memory://dying-tables-{operations}")
    output.live(operations)
    with contextlib.suppress(Killed):
        go(uris, output)
    output.live(None)
    output.delete(LEASE)
    codes = [go(uris, output) for _ in range(2)]
    assert codes[1] == DONE
    assert verify(output) == (8, 0, 0, ())
    assert [id for id, _ in captions_of(output)] == ["1", "2", "3", "3#2", "4", "4#2", "7", "8"]
    owners = {row["id"]: row["image_uri"] for row in tables_of(output)}
    assert {id for id, uri in owners.items() if "/b.parquet::" in uri} == {"3#2", "4#2", "7", "8"}
    output.remove()


def tables_of(output: Storage) -> list[dict[str, Any]]:
    """All rows."""
    names = [entry.name for entry in output.files("captions")]
    return [row for name in names for row in pq.read_table(io.BytesIO(output.read(name))).to_pylist()]


def test_a_file_that_two_tables_name(captioner: str, memory: Storage, tmp_path: Path) -> None:
    memory.write("in/x.png", PHOTOGRAPHS[0])
    source = put(memory, {name: held([PHOTOGRAPHS[1], "x.png"]) for name in "ab"})
    assert caption(source, tmp_path / "out", captioner) == DONE
    assert verify(Storage(str(tmp_path / "out"))) == (3, 0, 0, ())
    assert manifest_of(Storage(str(tmp_path / "out"))).repeated == 1


@pytest.mark.parametrize(
    ("flags", "other"),
    [
        (["--keep-columns", "title"], b""),
        (["--limit", "3"], b""),
        (["--sample", "3"], b""),
        (["--deduplicate"], b""),
        (["--strip-query"], b""),
        ([], b'{"uri": "a.png"}\n'),
    ],
)
def test_what_is_listed_as_before(
    flags: list[str], other: bytes, captioner: str, memory: Storage, tmp_path: Path
) -> None:
    rows = [{"bytes": data} for data in PHOTOGRAPHS[:5]]
    source = put(memory, {"a": parquet(pa.table({"image": rows, "title": list("abcde")}))})
    memory.write("in/a.png", PHOTOGRAPHS[9])
    more = []
    if other:
        memory.write("in/b.jsonl", other)
        more = [memory.uri("in/b.jsonl")]
    assert (
        caption(source, tmp_path / "out", captioner, *flags, *(["--manifest", *more, source] if more else [])) == DONE
    )
    assert not (tmp_path / "out" / FOLDER).exists()
    assert len(told(tmp_path / "out")[0]) == (3 if {"--limit", "--sample"} & {*flags} else 5 + len(more))


def test_tables_that_name_images_are_listed(captioner: str, memory: Storage, tmp_path: Path) -> None:
    memory.write("in/a.png", PHOTOGRAPHS[0])
    source = put(memory, {"a": parquet(pa.table({"url": ["a.png"]}))})
    assert caption(source, tmp_path / "out", captioner) == DONE
    assert not (tmp_path / "out" / FOLDER).exists()


def test_what_is_wrong_with_the_first_table_refuses_and_with_another_one_is_a_failure(
    captioner: str, memory: Storage, tmp_path: Path, capsys: Any
) -> None:
    good, other = held(PHOTOGRAPHS[:2]), parquet(pa.table({"sound": [b"a"]}))
    source = put(memory, {"a": good, "b": other, "c": b"no table"})
    assert caption(source, tmp_path / "out", captioner, "--uri-column", "image") == DONE
    _, failures = told(tmp_path / "out")
    assert len(failures) == 2
    assert "it cannot be listed: it has no column image, only sound" in failures[0]
    assert verify(Storage(str(tmp_path / "out"))) == (2, 2, 0, ())
    put(memory, {"a": other})
    capsys.readouterr()
    assert caption(source, tmp_path / "other", captioner, "--uri-column", "image") == REFUSED
    assert "a.parquet: it has no column image" in capsys.readouterr().err.replace(" cannot be read", "")
    assert caption(memory.uri("in/none.parquet"), tmp_path / "other", captioner) == REFUSED
    put(memory, {"a": held([])})
    assert caption(memory.uri("in/a.parquet"), tmp_path / "empty", captioner) == REFUSED
    assert "a.parquet has no rows: give tables that have some" in capsys.readouterr().err


def test_other_columns_are_other_questions(captioner: str, memory: Storage, tmp_path: Path) -> None:
    rows = {"image": [{"bytes": PHOTOGRAPHS[0]}], "small": [PHOTOGRAPHS[1]], "key": ["k"]}
    source, output = put(memory, {"a": parquet(pa.table(rows))}), tmp_path / "out"
    assert caption(source, output, captioner, "--id-column", "key") == DONE
    assert [json.loads(json.dumps(row)).split("'")[3] for row in told(output)[0]] == ["k"]
    assert caption(source, output, captioner, "--id-column", "") == DONE
    found = inspect(Storage(str(output)))
    assert (found.verdict.rows, found.verdict.todo, found.verdict.findings) == (2, 0, ())


def test_only_the_first_table_is_opened_by_the_launcher(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(memory, {name: held(PHOTOGRAPHS[:2]) for name in "abc"})
    opened: list[str] = []
    rows = table_containers.TableProcess.rows
    monkeypatch.setattr(
        table_containers.TableProcess, "rows", lambda self, where, *a: opened.append(where.uri) or rows(self, where, *a)
    )
    corpus = table_containers.table_containers(manifest_files([source], {}), Columns(), {})
    assert corpus
    assert [one.uri for one in corpus.containers] == [memory.uri(f"in/{name}.parquet") for name in "abc"]
    assert opened == [memory.uri("in/a.parquet")]


@pytest.mark.parametrize(("most", "passed"), [(5, False), (7, True)])
def test_tables_of_more_rows_than_are_listed_at_once_stay_in_parts(
    most: int, passed: bool, memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(memory, {name: held(PHOTOGRAPHS[:2]) for name in "abc"})
    monkeypatch.setattr(table_containers, "MOST_LISTED", most)
    corpus = table_containers.table_containers(manifest_files([source], {}), Columns(), {})
    assert (corpus is not None) == passed


def test_failures_of_an_attempt_are_tried_again(memory: Storage, tmp_path: Path) -> None:
    ids = [[f"{name}::{number:03}.jpg" for number in range(4)] for name in "ab"]
    put(memory, {name: held(PHOTOGRAPHS[:4], ids[place]) for place, name in enumerate("ab")})
    uris = [memory.uri(f"in/{name}.parquet") for name in "ab"]
    output = Storage(str(tmp_path / "out"))
    assert go(uris, output, failing=["001.jpg"]) == DONE
    assert verify(output) == (6, 2, 0, ())
    assert go(uris, output, retry_failed=True) == DONE
    assert verify(output) == (8, 0, 0, ())
    assert len(rows_of(output)[0]) == 8
