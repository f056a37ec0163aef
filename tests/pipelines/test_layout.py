"""`caption --layout webdataset`: images, captions and rows in tars beside the rows, read back as trainers do."""

import gzip
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED, STOPPED
from beamscribe.pipelines.sources import manifest_parts
from beamscribe.storage.storage import Storage
from tests.documents import CHECKOUT
from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer, make_photographs
from tests.pipelines.made_corpora import write_archive
from tests.pipelines.sources.made_tars import by_tarfile

CAPTIONER = """
from beamscribe.model.captioner_interface import CaptionError, Pixels

class Shade:
    fingerprint_fields = {"captioner": "shade"}
    wants = Pixels((16, 16))
    batch_size = 4

    def caption(self, images):
        for image in images:
            light = float(image.pixels.mean())
            yield CaptionError("TooDark", "it is dark") if light < 1 else f"É, a shade of {light:.0f} in 255."
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "shade.py").write_text(CAPTIONER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shade", raising=False)
    flags = ["--captioner", "shade:Shade", "--layout", "webdataset", "--shard-size", "2"]
    return ["caption", "--output", str(tmp_path / "out"), *flags]


def photograph(light: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), light, np.uint8)).save(file, kind)
    return file.getvalue()


def samples(folder: Path) -> dict[str, dict[str, Any]]:
    """By id, as the library for WebDataset reads them; a key or an id twice is an error."""
    shards = sorted(map(str, folder.glob("*.tar")))
    read = list(webdataset.WebDataset(shards, shardshuffle=False)) if shards else []
    found = {json.loads(one["json"])["id"]: one for one in read}
    assert len({one["__key__"] for one in read}) == len(found) == len(read)
    return found


def rows(output: Path) -> dict[str, dict[str, Any]]:
    found = ds.dataset(output / "captions").to_table().to_pylist()
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


def image_of(sample: dict[str, Any]) -> tuple[str, bytes]:
    [suffix] = {name for name in sample if not name.startswith("__")} - {"txt", "json"}
    return suffix, sample[suffix]


def assert_samples_are_rows(output: Path) -> dict[str, dict[str, Any]]:
    found, table = samples(output / "webdataset"), rows(output)
    assert found.keys() == table.keys()
    for id, one in found.items():
        about = json.loads(one["json"])
        assert one["txt"].decode() == about["caption"] == table[id]["caption"]
        assert hashlib.sha256(image_of(one)[1]).hexdigest() == about["sha256"] == table[id]["sha256"]
        assert about.keys() == table[id].keys()
    stems = [{path.stem for path in (output / folder).iterdir()} for folder in ("captions", "webdataset")]
    assert stems[0] == stems[1]
    return found


def files(output: Path) -> dict[str, tuple[int, bytes]]:
    paths = [path for path in output.rglob("*") if path.is_file() and path.parent.name in ("captions", "webdataset")]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_a_folder(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out"
    (photos / "a.b").mkdir(parents=True)
    kinds = {"1.jpg": "JPEG", "2.PNG": "PNG", "a.b/3.x.webp": "WEBP", "4.jpg": "GIF"}
    content = {name: photograph(20 + 9 * place, kind) for place, (name, kind) in enumerate(kinds.items())}
    content["again.png"] = content["2.PNG"]
    for name, data in {**content, "dark.png": photograph(0, "PNG"), "broken.jpg": b"\xff\xd8\xff nothing"}.items():
        (photos / name).write_bytes(data)
    command += ["--images", str(photos)]
    assert main([*command, "--plan"]) == DONE
    [told] = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("bytes")]
    assert int(told.split()[1].replace(",", "")) > sum(map(len, content.values()))
    assert not (output / "webdataset").exists()

    # Bytes are the sources', suffixes those of the formats, equal images samples of their own; failures have none.
    assert main(command) == DONE
    found = assert_samples_are_rows(output)
    assert {id.removeprefix(f"file://{photos}/"): image_of(one)[1] for id, one in found.items()} == content
    suffixes = {image_of(one)[0] for one in found.values()}
    assert suffixes == {"jpg", "png", "webp", "gif"}
    assert image_of(found[f"file://{photos}/4.jpg"])[0] == "gif"

    # So does what the documents say.
    text = (CHECKOUT / "docs" / "formats.md").read_text(encoding="utf-8")
    [code] = [one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "OUTPUT/webdataset" in one]
    capsys.readouterr()
    exec(code.replace("OUTPUT", str(output)), {})
    assert capsys.readouterr().out.count("É, a shade of") == len(found)

    # The export, which reads the photographs again, says the same of each.
    assert main(["export", str(output), "--to", "webdataset", "--output", str(tmp_path / "export")]) == DONE
    exported = samples(tmp_path / "export")
    assert {id: (one["json"], one["txt"], image_of(one)) for id, one in exported.items()} == {
        id: (one["json"], one["txt"], image_of(one)) for id, one in found.items()
    }

    # Nothing is written twice; what is tried again comes in files of its own.
    before = files(output)
    assert main(command) == DONE
    assert files(output) == before
    (photos / "dark.png").write_bytes(photograph(99, "PNG"))
    assert main([*command, "--retry-failed"]) == DONE
    assert f"file://{photos}/dark.png" in assert_samples_are_rows(output)
    assert before.items() <= files(output).items()
    assert main(["verify", str(output)]) == DONE


def made(command: list[str], photos: Path, count: int) -> None:
    """Captions so many photographs."""
    photos.mkdir()
    for number in range(count):
        (photos / f"{number}.png").write_bytes(photograph(20 + number, "PNG"))
    command += ["--images", str(photos)]
    assert main(command) == DONE


def test_what_is_damaged(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    made(command, tmp_path / "photos", 6)
    # Damage that keeps the size, another sample's image, a tar that is gone, and one without rows.
    tars = sorted((output / "webdataset").iterdir())
    damaged, gone = tars[0], tars[1]
    data = damaged.read_bytes()
    damaged.write_bytes(data.replace(b"shade", b"spade", 1))
    gone.unlink()
    orphan = output / "webdataset" / f"00000-of-00001-{'0' * 16}.tar"
    orphan.write_bytes(data)
    (output / "webdataset" / "mine.tar").write_bytes(data)
    capsys.readouterr()
    assert main(["verify", str(output)]) == CHECK_FAILED
    told = capsys.readouterr().out
    assert f"webdataset/{damaged.name} has another caption than its row of file://" in told
    assert f"webdataset/{gone.name} is not there, which belongs to captions/{gone.stem}.parquet" in told
    assert f"webdataset/{orphan.name} is beside no rows" in told
    assert "webdataset/mine.tar has no name that Beamscribe gives" in told
    (output / "webdataset" / "mine.tar").unlink()
    assert main(["verify", str(output), "--repair"]) == STOPPED
    assert not damaged.exists()
    assert not orphan.exists()
    assert main(command) == DONE
    assert len(assert_samples_are_rows(output)) == 6
    # Without verify, a run sees that a tar is gone or has another size.
    sorted((output / "webdataset").iterdir())[0].unlink()
    sorted((output / "webdataset").iterdir())[0].write_bytes(b"")
    assert main(command) == DONE
    assert len(assert_samples_are_rows(output)) == 6
    assert main(["verify", str(output)]) == DONE


def test_the_layout_is_a_setting(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out"
    made(command, photos, 3)
    tars = {path.name for path in (output / "webdataset").iterdir()}
    (photos / "more.png").write_bytes(photograph(90, "PNG"))
    (tmp_path / "shade.py").write_text(CAPTIONER.replace('"shade"', '"shades"'))
    del sys.modules["shade"]
    assert main([*command, "--on-change", "replace"]) == DONE
    assert len(assert_samples_are_rows(output)) == 4
    assert not tars & {path.name for path in (output / "webdataset").iterdir()}

    # Rows that were made otherwise stay as they are, with their images or without.
    command[command.index("webdataset")] = "parquet"
    capsys.readouterr()
    assert main(command) == REFUSED
    assert "layout: webdataset → parquet" in capsys.readouterr().err
    (photos / "rows alone.png").write_bytes(photograph(91, "PNG"))
    assert main([*command, "--on-change", "keep"]) == DONE
    assert (len(samples(output / "webdataset")), len(rows(output))) == (4, 5)
    assert main(["verify", str(output)]) == DONE
    (tmp_path / "shade.py").write_text(CAPTIONER)
    del sys.modules["shade"]
    assert main([*command, "--on-change", "replace"]) == DONE
    assert (len(list((output / "webdataset").iterdir())), len(rows(output))) == (0, 5)
    assert main(["verify", str(output)]) == DONE


@pytest.mark.parametrize("source", ["tar in a store", "photos.tar.gz", "photos.zip", "photos.parquet"])
def test_containers(source: str, command: list[str], tmp_path: Path, memory: Storage) -> None:
    content = {f"{number:03}.png": photograph(20 + number, "PNG") for number in range(5)}
    beside = {f"{number:03}.json": json.dumps({"title": f"t{number}"}).encode() for number in range(5)}
    members = sorted({**content, **beside}.items())
    path = tmp_path / source
    uri = str(path)
    if source.endswith(".parquet"):
        pq.write_table(pa.table({"image": list(content.values()), "title": [f"t{n}" for n in range(5)]}), path)
        command += ["--manifest", uri]
    else:
        if source.endswith(".gz"):
            path.write_bytes(gzip.compress(by_tarfile(members)))
        elif source.endswith(".zip"):
            write_archive(path, dict(members))
        else:
            memory.write("photos.tar", by_tarfile(members))
            uri = memory.uri("photos.tar")
        command += ["--images", uri]
    assert main([*command, "--keep-columns", "title"]) == DONE
    found = assert_samples_are_rows(tmp_path / "out")
    assert len(list((tmp_path / "out" / "webdataset").iterdir())) > 1
    assert sorted(image_of(one)[1] for one in found.values()) == sorted(content.values())
    assert {json.loads(one["json"])["title"] for one in found.values()} == {f"t{number}" for number in range(5)}
    assert main(["verify", str(tmp_path / "out")]) == DONE


def test_each_part_of_an_output_has_its_tars(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"MOST_LISTED": 5, "PART_ROWS": 4, "LEAST_BYTES": 1}.items():
        monkeypatch.setattr(manifest_parts, name, size)
    table = pa.table({"image": [photograph(20 + number, "PNG") for number in range(8)]})
    pq.write_table(table, tmp_path / "photos.parquet", row_group_size=4)
    command += ["--manifest", str(tmp_path / "photos.parquet")]
    parts = [tmp_path / "out" / "parts" / name for name in ("00000", "00001")]
    assert main(command) == DONE
    # A part of which nothing is to do is not opened, unless a tar of it is gone.
    sorted((parts[1] / "webdataset").iterdir())[0].unlink()
    assert main(["verify", str(tmp_path / "out")]) == CHECK_FAILED
    assert main(command) == DONE
    assert [len(assert_samples_are_rows(part)) for part in parts] == [4, 4]
    assert main(["verify", str(tmp_path / "out")]) == DONE


def test_features_hold_no_images(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = command.index("--captioner")
    del command[place : place + 2]
    assert main([*command, "--features", str(tmp_path)]) == REFUSED
    assert "--layout webdataset: with --features no photographs are read" in capsys.readouterr().err


@pytest.mark.slow
def test_captions_of_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service gets a smaller JPEG file of each photograph; the tar has the photograph as it is."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("beamscribe.pipelines.services.retry_policy.BETWEEN", lambda state: 0.0)
    photos, output = make_photographs(tmp_path / "photos", 12), tmp_path / "out"
    server = EndpointServer(fault_rate=0.5, faults=("refusal",))
    command = ["caption", "--images", str(photos), "--output", str(output), "--layout", "webdataset"]
    with server.serving() as url:
        command += ["--endpoint", url, "--model", "m", "--shard-size", "5"]
        assert main([*command, "--plan"]) == DONE
        assert main(command) == DONE
        found = assert_samples_are_rows(output)
        assert len(found) < 12
        server._fault_rate = 0.0
        assert main([*command, "--retry-failed"]) == DONE
        again = assert_samples_are_rows(output)
    assert found.keys() < again.keys()
    content = {f"file://{path}": path.read_bytes() for path in photos.iterdir()}
    assert {id: image_of(one)[1] for id, one in again.items()} == content
    assert main(["verify", str(output)]) == DONE
