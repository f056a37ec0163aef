"""`--keep-columns` from the command line to what later commands make of the rows."""

import contextlib
import csv
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.manifests import read_manifests
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.keep import parse_keep
from beamscribe.schemas.rows import CAPTIONS, with_kept_columns
from beamscribe.storage.output_reader import manifest_of
from beamscribe.storage.storage import Storage
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import FakeJob

pytestmark = pytest.mark.slow

COUNT = 5
TITLED = """
from beamscribe.model.captioner_interface import Encoded, Written
from beamscribe.schemas.caption_row import Alternative

class Titled:
    fingerprint_fields = {"captioner": "titled", "version": "1"}
    wants = Encoded(64)
    batch_size = 4

    def caption(self, images):
        for image in images:
            text = f"An image of {image.fields.get('title', 'nothing')}."
            yield Written((Alternative(text, -0.5, 0.1 if text.endswith("0.") else 0.9),))
"""


@pytest.fixture
def titled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A captioner that says what its source says; its images are all the same, but for their columns."""
    (tmp_path / "titled.py").write_text(TITLED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "titled", raising=False)
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "in" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return "titled:Titled"


def table(count: int = COUNT) -> pa.Table:
    taken = [datetime.datetime(2020, 1, number + 1, 1, 2, 3, 4) for number in range(count)]
    return pa.table(
        {
            "url": [f"in/{number}.png" for number in range(count)],
            "license": ["cc0", None, "by", "=é", '"q"'][:count],
            "width": pa.array([1, 2, None, 4, 5][:count], pa.int16()),
            "taken": pa.array(taken, pa.timestamp("ns", tz="Asia/Seoul")),
            "tags": [["a"], [], None, ["b", None], ["c"]][:count],
            "place": [{"x": number, "y": -number / 3} for number in range(count)],
            "title": pa.array([f"t{number}" for number in range(count)]).dictionary_encode(),
        }
    )


KEEP = "license,source_width=width,taken,tags,place,title"
NAMES = ["license", "source_width", "taken", "tags", "place", "title"]


def rows_of(output: Path | str) -> pa.Table:
    return ds.dataset(Path(output) / "captions").to_table().sort_by("id")


def without_element_names(found: pa.Table) -> list[str]:
    return [str(field.type).replace("element: ", "item: ") for field in found.schema]


def test_columns_of_a_table_are_in_the_rows_and_in_what_is_made_of_them(titled: str, tmp_path: Path) -> None:
    source = table()
    pq.write_table(source, "m.parquet", row_group_size=2)
    command = ["caption", "--manifest", "m.parquet", "--captioner", titled, "--output", "out", "--shard-size", "2"]
    assert main([*command, "--keep-columns", KEEP]) == DONE
    expected = source.drop_columns("url").rename_columns(NAMES)
    expected = expected.set_column(5, "title", expected["title"].cast(pa.string()))
    found = rows_of("out")
    assert found.column_names == [*CAPTIONS.schema.names, *NAMES]
    assert without_element_names(found.select(NAMES)) == [str(field.type) for field in expected.schema]
    assert found.select(NAMES).cast(expected.schema).equals(expected)
    # A captioner that heeds the columns is asked for each image, though all have the same bytes.
    assert found["caption"].to_pylist() == [f"An image of t{number}." for number in range(COUNT)]
    assert not any(found["repairs"].to_pylist())
    files = {str(path): path.read_bytes() for path in Path("out").rglob("*.parquet")}
    assert main([*command, "--keep-columns", KEEP]) == DONE
    assert {str(path): path.read_bytes() for path in Path("out").rglob("*.parquet")} == files
    assert main(["verify", "out"]) == DONE

    assert main(["export", "out", "--to", "jsonl", "--output", "out.jsonl"]) == DONE
    lines = sorted(map(json.loads, Path("out.jsonl").read_text().splitlines()), key=lambda row: row["id"])
    assert [row["place"] for row in lines] == expected["place"].to_pylist()
    assert [row["tags"] for row in lines] == expected["tags"].to_pylist()
    assert lines[0]["taken"] == "2020-01-01T10:02:03.000004+09:00"
    columns = ["id", "caption", "license", "source_width", "place", "taken"]
    for _ in range(2):  # The second time it is known for its own.
        assert main(["export", "out", "--to", "csv", "--output", "out.csv", "--columns", ",".join(columns)]) == DONE
    with open("out.csv", newline="") as file:
        cells = sorted(csv.reader(file), key=lambda row: row[0].replace("id", ""))
    assert cells[0] == columns
    assert cells[4][2:] == ["'=é", "4", '{"x": 3, "y": -1.0}', "2020-01-04T10:02:03.000004+09:00"]
    assert cells[2][2:4] == ["", "2"]
    assert main(["export", "out", "--to", "csv", "--output", "n.csv", "--columns", "id,nothing"]) == REFUSED
    assert main(["export", "out", "--to", "hf", "--output", "hf"]) == DONE
    stored = pq.read_table(next(Path("hf/data").iterdir()))
    assert {*NAMES, "image"} <= {*stored.column_names}
    features = json.loads(stored.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["taken"] == {"dtype": "timestamp[ns, tz=Asia/Seoul]", "_type": "Value"}
    assert main(["report", "out", "--output", "out.html"]) == DONE

    # The least sure is captioned again; it keeps its columns there, and in one output of both.
    assert main(["caption", "--retake", "out", "--captioner", titled, "--output", "again", "--below", "0.5"]) == DONE
    again = rows_of("again")
    assert again.select(NAMES).cast(expected.schema).equals(expected.slice(0, 1))
    assert main(["merge", "out", "again", "--output", "merged"]) == DONE
    assert rows_of("merged").select(NAMES).cast(expected.schema).equals(expected)
    # So do rows that an output without columns replaces.
    assert main(["caption", "--images", "in/0.png", "--captioner", titled, "--output", "plain"]) == DONE
    assert main(["merge", "out", "plain", "--output", "merged2"]) == DONE
    merged = rows_of("merged2")
    assert merged["caption"].to_pylist()[0] == "An image of nothing."
    assert merged.select(NAMES).cast(expected.schema).equals(expected)
    assert main(["export", "merged2", "--to", "jsonl", "--output", "merged2.jsonl"]) == DONE


def test_other_columns_are_other_settings(titled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.csv").write_text(
        "url,license,w\n" + "".join(f"in/{n}.png,l{n},{'wide' if n == 1 else n}\n" for n in range(3))
    )
    command = ["caption", "--manifest", "m.csv", "--captioner", titled, "--output", "out"]
    assert main([*command, "--keep-columns", "w:int32", "--strict"]) == CHECK_FAILED
    assert "a kept column is null in 1 rows" in capsys.readouterr().err
    assert rows_of("out").select(["w", "repairs"]).to_pylist() == [
        *({"w": 0, "repairs": []}, {"w": None, "repairs": ["kept-value-null"]}, {"w": 2, "repairs": []})
    ]
    for keep in ("license", "w:int64", ""):
        assert main([*command, *(["--keep-columns", keep] if keep else [])]) == REFUSED
        assert "kept_columns: w:int32" in capsys.readouterr().err
    assert main([*command, "--keep-columns", "w", "--on-change", "keep"]) == REFUSED
    assert "rows of earlier runs have w as int32" in capsys.readouterr().err
    # Rows that stay have their columns still, and new ones are null there.
    Path("m.csv").write_text(Path("m.csv").read_text() + "in/3.png,l3,3\n")
    assert main([*command, "--keep-columns", "license", "--on-change", "keep"]) == DONE
    assert main(["export", "out", "--to", "jsonl", "--output", "out.jsonl"]) == DONE
    lines = sorted(map(json.loads, Path("out.jsonl").read_text().splitlines()), key=lambda row: row["id"])
    assert [(row["license"], row["w"]) for row in lines] == [(None, 0), (None, None), (None, 2), ("l3", None)]
    replace = ["--keep-columns", "license,w:int32", "--on-change", "replace"]
    assert main([*command, *replace]) == DONE
    assert rows_of("out").select(["license", "w"]).to_pylist() == [
        {"license": f"l{number}", "w": None if number == 1 else number} for number in range(4)
    ]


@pytest.mark.parametrize(
    ("source", "keep", "message"),
    [
        ("--manifest", "width", "source_width=width keeps it under another name"),
        ("--manifest", "a,,b", "is no list of columns"),
        ("--features", "license", "--features names no columns"),
        ("--retake", "license", "leave the flag out"),
    ],
)
def test_columns_that_cannot_be_kept(source: str, keep: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", source, "nothing", "--output", "nowhere", "--keep-columns", keep]) == REFUSED
    assert message in capsys.readouterr().err


def go(output: Storage, manifest: Path) -> int:
    """Launches the fake job with columns of a manifest; a shard has two images."""
    corpus = read_manifests([str(manifest)], Columns(), {}, keeps=parse_keep("license,n"))
    assert corpus.kept is not None
    form = with_kept_columns(CAPTIONS, corpus.kept.resolve(pa.schema([])))
    flags: dict[str, Any] = {"shard_size": 2, "limit": None, "retry_failed": False, "on_change": "refuse"}
    return launch(
        Request(
            job=FakeJob(format=form),
            corpus=corpus,
            output=output,
            fingerprint=Fingerprint({"style": "oil"}),
            details={},
            flags=JobFlags(storage_options={}, **flags),
            options=parse(FlagParser(prog="beamscribe fake"), [])[1],
        )
    )


def test_times_that_python_cannot_hold_are_kept(titled: str) -> None:
    url = [f"in/{number}.png" for number in range(3)]
    columns = {
        "late": pa.array([0, 253402300800000, None], pa.timestamp("ms")),
        "day": pa.array([0, 2147483647, 1], pa.date32()),
        "zone": pa.array([0, 1, 2], pa.timestamp("us", "Z")),
    }
    pq.write_table(pa.table({"url": url, **columns}), "m.parquet")
    command = ["caption", "--manifest", "m.parquet", "--captioner", titled]
    assert main([*command, "--output", "out", "--keep-columns", "late,day,zone", "--layout", "webdataset"]) == DONE
    found = ds.dataset("out/captions").to_table().sort_by("id")
    assert {name: found[name].combine_chunks() for name in columns} == columns
    assert not any(found["repairs"].to_pylist())
    assert main(["verify", "out"]) == DONE
    for form in ("jsonl", "csv"):
        assert main(["export", "out", "--to", form, "--output", f"out.{form}"]) == DONE
    lines = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(str(line["late"]) for line in lines) == ["10000-01-01T00:00:00.000", "1970-01-01T00:00:00", "None"]
    assert main([*command, "--output", "texts", "--keep-columns", "day:string"]) == DONE
    assert sorted(ds.dataset("texts/captions").to_table()["day"].to_pylist()) == [
        "1970-01-01",
        "1970-01-02",
        "2147483647",
    ]


def test_a_kill_costs_no_value(tmp_path: Path, memory: Storage) -> None:
    rows = [{"url": f"{number}.jpg", "license": f"l{number}", "n": number or None} for number in range(9)]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def values(output: Storage) -> list[tuple[Any, ...]]:
        tables = [pq.read_table(pa.BufferReader(output.read(one.name))) for one in output.files("captions")]
        assert len({str(one.schema) for one in tables}) == 1
        assert str(tables[0].schema.field("n").type) == "int64"
        return sorted((row["image_uri"][-5:], row["license"], row["n"]) for one in tables for row in one.to_pylist())

    assert go(memory, manifest) == DONE
    undisturbed = values(memory)
    assert undisturbed == [(row["url"], row["license"], row["n"]) for row in rows]
    stops = 0
    for operations in (6, 14, 22):
        output = DyingStorage(f"memory://dying-kept-{operations}")
        output.live(operations)
        code = None
        with contextlib.suppress(Killed):
            code = go(output, manifest)
        output.live(None)
        output.delete(LEASE)
        stops += code != DONE
        assert go(output, manifest) == DONE
        assert values(output) == undisturbed
        assert verify(output) == (len(rows), 0, 0, ())
        assert manifest_of(output).references == len(rows)
        output.remove()
    assert stops >= 2
