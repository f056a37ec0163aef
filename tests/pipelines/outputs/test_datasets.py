"""Captions with their photographs, read back by the rules of the programs that stream them."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.errors import CHECK_FAILED, DONE, RefusedError
from beamscribe.model.image_formats import suffix_of
from beamscribe.pipelines.outputs.export import run
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS
from tests.pipelines.outputs.report.made_report import row
from tests.pipelines.outputs.test_verify import go

KINDS = {"a": "JPEG", "b": "PNG", "c": "WEBP", "d": "GIF"}


def photograph(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 9), (200, 10, 10)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def captions(tmp_path: Path) -> Storage:
    """An output of four captions of photographs in four formats, in as many files as the fake job makes."""
    output = Storage(str(tmp_path / "captions"))
    assert go(output, "abcd") == DONE
    (tmp_path / "photos").mkdir()
    for name, kind in KINDS.items():
        (tmp_path / "photos" / name).write_bytes(photograph(kind))
    for entry in output.files("captions"):
        changed = []
        for found in ROWS.read(output.read(entry.name), "").to_pylist():
            name = found["id"]
            item = row(name, photograph(KINDS[name]), caption=f"É {name}.")
            uri = f"file://{tmp_path}/photos/{name}"
            changed.append(item._replace(id=name, image_uri=uri, fingerprint=found["fingerprint"]))
        output.write(entry.name, ROWS.encode(changed))
    for entry in output.files("_beamscribe/shards"):
        output.delete(entry.name)
    assert go(output, "abcd") == DONE
    return output


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """As WebDataset groups them: files that follow each other and share what is before the first dot."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                content = tar.extractfile(member)
                assert content
                found.setdefault(key, {})[suffix] = content.read()
    return found


def test_webdataset(captions: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    command = [captions.root, "--to", "webdataset", "--output", str(folder)]
    assert run(command) == DONE
    found = samples(folder)
    by_id = {json.loads(one["json"])["id"]: one for one in found.values()}
    assert sorted(by_id) == list("abcd")
    for name, suffix in {"a": "jpg", "b": "png", "c": "webp", "d": "gif"}.items():
        assert set(by_id[name]) == {suffix, "txt", "json"}
        assert by_id[name][suffix] == photograph(KINDS[name])
        assert by_id[name]["txt"].decode() == json.loads(by_id[name]["json"])["caption"] == f"É {name}."
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*.tar")}
    assert len(before) == len(captions.files("captions"))

    # Again: nothing is written anew but what is missing, and that is the same to the byte.
    first = min(before)
    (folder / first).unlink()
    assert run(command) == DONE
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*.tar")}
    assert {name: data for name, (_, data) in after.items()} == {name: data for name, (_, data) in before.items()}
    assert all(after[name] == before[name] for name in before if name != first)

    # Another form does not mix with it, and replaces it if told so.
    with pytest.raises(RefusedError, match="holds other files than this export"):
        run([captions.root, "--to", "hf", "--output", str(folder)])
    assert run([captions.root, "--to", "hf", "--output", str(folder), "--replace"]) == DONE
    assert not list(folder.glob("*.tar"))
    with pytest.raises(RefusedError, match="holds other files than this export"):
        run([captions.root, "--to", "hf", "--output", str(tmp_path / "photos")])


def test_tables_of_images(captions: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    assert run([captions.root, "--to", "hf", "--output", str(folder)]) == DONE
    files = sorted((folder / "data").iterdir())
    assert [path.name for path in files] == [f"train-{n:05}-of-{len(files):05}.parquet" for n in range(len(files))]
    rows = [one for path in files for one in pq.read_table(path).to_pylist()]
    assert {one["id"]: one["image"]["bytes"] for one in rows} == {name: photograph(KINDS[name]) for name in "abcd"}
    assert {one["id"]: one["caption"] for one in rows} == {name: f"É {name}." for name in "abcd"}
    schema = pq.read_schema(files[0])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["score"] == {"dtype": "float32", "_type": "Value"}
    assert features["flags"] == [{"dtype": "string", "_type": "Value"}]


def test_photographs_that_are_gone_or_changed_are_left_out_and_tried_again(captions: Storage, tmp_path: Path) -> None:
    command = [captions.root, "--to", "webdataset", "--output", str(tmp_path / "tars")]
    (tmp_path / "photos" / "a").unlink()
    (tmp_path / "photos" / "b").write_bytes(photograph("JPEG"))
    assert run(command) == CHECK_FAILED
    assert sorted(json.loads(one["json"])["id"] for one in samples(tmp_path / "tars").values()) == ["c", "d"]
    for name in "ab":
        (tmp_path / "photos" / name).write_bytes(photograph(KINDS[name]))
    assert run(command) == DONE
    assert len(samples(tmp_path / "tars")) == 4


def test_suffixes() -> None:
    assert [suffix_of(photograph(kind)) for kind in ("JPEG", "PNG", "TIFF", "BMP")] == ["jpg", "png", "tif", "bmp"]
    assert suffix_of(b"") == suffix_of(b"nothing") == "bin"
