"""`caption --manifest` of remote tables that hold images: what workers go through is what a list of the rows gives."""

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
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import DONE, REFUSED
from beamscribe.pipelines.outputs.verify import inspect, verify
from beamscribe.pipelines.sources import table_containers
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.manifests import manifest_files
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.storage.output_reader import manifest_of
from beamscribe.storage.storage import Storage
from tests.documents import CHECKOUT
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


def odd_tables() -> dict[str, bytes]:
    first = [PHOTOGRAPHS[1], None, PHOTOGRAPHS[0], PHOTOGRAPHS[2], "htp://x/1", b"no image", PHOTOGRAPHS[3]]
    return {
        "a": held(first),
        "b": damaged(held(PHOTOGRAPHS[4:10], **PLAIN), PHOTOGRAPHS[8][:60]),
        "c": held([PHOTOGRAPHS[10], PHOTOGRAPHS[11]]),
    }


def test_rows_are_those_of_a_list(captioner: str, memory: Storage, tmp_path: Path, capsys: Any) -> None:
    source = put(memory, odd_tables())
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
    source = put(memory, odd_tables())
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    assert caption(source, whole, captioner) == DONE
    # Of the first table some rows.
    assert caption(source, begun, captioner, "--limit", "4") == DONE
    assert caption(source, begun, captioner) == DONE
    assert told(begun) == told(whole)
    assert verify(Storage(str(begun))).findings == ()


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


def test_tables_with_ids_are_listed(captioner: str, memory: Storage, tmp_path: Path, capsys: Any) -> None:
    """Workers would not know of an id that another table has too."""
    source, output = put(memory, {name: held(PHOTOGRAPHS[:2], ["7", name]) for name in "ab"}), tmp_path / "out"
    assert caption(source, output, captioner) == REFUSED
    assert "gives the id 7 to different images" in capsys.readouterr().err
    assert caption(source, output, captioner, "--id-column", "") == DONE
    assert (output / FOLDER).exists()
    assert verify(Storage(str(output))) == (4, 0, 0, ())


def test_tables_one_after_the_other_and_in_another_order(captioner: str, memory: Storage, tmp_path: Path) -> None:
    put(memory, {name: held(PHOTOGRAPHS[:3]) for name in "ab"})
    a, b = (memory.uri(f"in/{name}.parquet") for name in "ab")
    output = tmp_path / "out"
    for sources in ([a], [b], [b, a], [a, b]):
        assert caption(sources[0], output, captioner, *(["--manifest", *sources] if sources[1:] else [])) == DONE
    assert verify(Storage(str(output))) == (6, 0, 0, ())


def test_files_that_rows_name(captioner: str, memory: Storage, tmp_path: Path) -> None:
    """Each row is an image of its own, also of two tables."""
    memory.write("in/x.png", PHOTOGRAPHS[0])
    source, output = put(memory, {name: held([PHOTOGRAPHS[1], "x.png", "x.png"]) for name in "ab"}), tmp_path / "out"
    for _ in range(2):
        assert caption(source, output, captioner) == DONE
        assert verify(Storage(str(output))) == (6, 0, 0, ())
    rows = ds.dataset(output / "captions").to_table(["id", "image_uri"]).to_pylist()
    files = {row["id"].rpartition("/")[2] for row in rows if row["image_uri"] == memory.uri("in/x.png")}
    assert files == {"a.parquet::1", "a.parquet::2", "b.parquet::1", "b.parquet::2"}


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
