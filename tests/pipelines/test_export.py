"""Captions in the forms of other programs, read back by those programs' own rules."""

import csv
import io
import json
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import fsspec
import pyarrow.csv
import pyarrow.json
import pytest

from model.storage import Storage
from pipelines.export import coco_results, run, sidecar_names
from schemas import caption_row
from schemas.command import DONE, RefusedError
from tests.pipelines.fake_job import ROWS
from tests.pipelines.report.made_report import row
from tests.pipelines.test_verify import go

WILD = 'A "dog", <b>&\u00e9.'


@pytest.fixture
def captions(tmp_path: Path) -> Storage:
    """An output of three captions, of photographs in two folders."""
    output = Storage(str(tmp_path / "captions"))
    assert go(output, "abc") == DONE
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for entry in output.files("captions"):
        rows = ROWS.read(output.read(entry.name), "").to_pylist()
        changed = []
        for found in rows:
            name = {"a": "a.jpg", "b": "b.jpg", "c": "more/a.jpg"}[found["id"]]
            item = row("x", caption=WILD if found["id"] == "b" else "A dog runs.")
            uri = f"file://{tmp_path}/photos/{name}"
            changed.append(item._replace(id=found["id"], image_uri=uri, fingerprint=found["fingerprint"]))
        output.write(entry.name, ROWS.encode(changed))
    for entry in output.files("_beamscribe/shards"):
        output.delete(entry.name)
    assert go(output, "abc") == DONE
    return output


def export(captions: Storage, to: str, *flags: str) -> int:
    return run([captions.root, "--to", to, *flags])


def test_csv(captions: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "captions.csv"
    assert export(captions, "csv", "--output", str(path)) == DONE
    assert capsys.readouterr().out.splitlines()[-1] == f"beamscribe export: 3 captions as csv → {path}"
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert list(rows[0]) == caption_row.SCHEMA.names
    assert {found["id"]: found["caption"] for found in rows}["b"] == WILD
    assert json.loads(rows[0]["alternatives"])[1]["score"] == -1.5
    assert rows[0]["run_started"].endswith("+00:00")
    assert pyarrow.csv.read_csv(path).num_rows == 3
    assert sorted(found.name for found in path.parent.iterdir()) == ["captions.csv"]


def test_json_lines(captions: Storage, tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    assert export(captions, "jsonl", "--output", str(path)) == DONE
    table = pyarrow.json.read_json(path)
    assert table.column_names == caption_row.SCHEMA.names
    assert sorted(table["id"].to_pylist()) == ["a", "b", "c"]
    assert table["alternatives"][0][0]["caption"].as_py() in (WILD, "A dog runs.")


def test_a_file_on_remote_storage(captions: Storage) -> None:
    uri = f"memory://{uuid.uuid4().hex}/captions.jsonl"
    assert export(captions, "jsonl", "--output", uri) == DONE
    with fsspec.open(uri) as file:
        assert len(file.read().splitlines()) == 3


def test_coco_results(captions: Storage, tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "train/b.jpg"}, {"id": 8, "file_name": "a.jpg"}]
    annotations = tmp_path / "captions.json"
    annotations.write_text(json.dumps({"images": images, "annotations": []}))
    path = tmp_path / "results.json"
    flags = ["--output", str(path), "--annotations", str(annotations)]
    assert export(captions, "coco-results", *flags) == DONE
    found = json.loads(path.read_text())
    assert {(item["image_id"], item["caption"]) for item in found} == {(7, WILD), (8, "A dog runs.")}
    annotations.write_text(json.dumps({"images": [*images, {"id": 9, "file_name": "b/a.jpg"}], "annotations": []}))
    path.unlink()
    with pytest.raises(RefusedError, match="the COCO image id of .*a.jpg is not known: --annotations"):
        export(captions, "coco-results", *flags)
    assert not path.exists()


def test_ids_of_coco_need_no_annotations() -> None:
    rows = [{"id": "17", "image_uri": "file:///a.jpg", "caption": "A dog."}]
    assert json.loads("".join(coco_results(rows, {}))) == [{"image_id": 17, "caption": "A dog."}]
    assert json.loads("".join(coco_results([], {}))) == []


def test_sidecars_beside_the_photographs(captions: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    (photos / "a.txt").write_text("Mine.")
    assert export(captions, "sidecar") == DONE
    assert "1 left as they were, since they say something else" in capsys.readouterr().out
    assert (photos / "a.txt").read_text() == "Mine."
    assert (photos / "b.txt").read_text() == WILD + "\n"
    assert (photos / "more" / "a.txt").read_text() == "A dog runs.\n"
    assert export(captions, "sidecar", "--replace") == DONE
    assert (photos / "a.txt").read_text() == "A dog runs.\n"
    assert "left" not in capsys.readouterr().out


def test_xmp_in_a_folder_of_their_own(captions: Storage, tmp_path: Path) -> None:
    assert export(captions, "sidecar", "--sidecar", "xmp", "--output", str(tmp_path / "side")) == DONE
    assert sorted(str(path.relative_to(tmp_path / "side")) for path in (tmp_path / "side").rglob("*.xmp")) == [
        "a.xmp",
        "b.xmp",
        "more/a.xmp",
    ]
    root = ET.fromstring((tmp_path / "side" / "b.xmp").read_text(encoding="utf-8"))
    found = root.find(".//{http://purl.org/dc/elements/1.1/}description//{*}li")
    assert found is not None
    assert found.text == WILD


def test_two_photographs_do_not_share_a_sidecar() -> None:
    assert sidecar_names(["/a/x.jpg", "/a/x.png", "/b/x.jpg", "/a/y"], "txt") == {
        "/a/x.jpg": "/a/x.jpg.txt",
        "/a/x.png": "/a/x.png.txt",
        "/b/x.jpg": "/b/x.txt",
        "/a/y": "/a/y.txt",
    }


def test_refusals(captions: Storage, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="--to csv needs --output"):
        export(captions, "csv")
    with pytest.raises(RefusedError, match="invalid choice: 'xml'"):
        export(captions, "xml")
    with pytest.raises(RefusedError, match="--annotations /nowhere"):
        export(captions, "coco-results", "--output", "x", "--annotations", "/nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="cannot be exported"):
        export(captions, "csv", "--output", str(tmp_path / "file" / "x.csv"))
