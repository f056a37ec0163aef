import hashlib
import io
import json
import tarfile

import pyarrow.dataset as ds
import pytest
import webdataset

from beamscribe.pipelines.speech.containers import Parquet, Tar
from beamscribe.schemas.audio_row import AudioFile, AudioRow
from beamscribe.schemas.table import NewerSchemaError


def audio_row(key, data=b"sound", loudness=-19.5):
    sha256 = hashlib.sha256(data).hexdigest()
    facts = (0.5, 22050, 1, len(data), loudness)
    return AudioRow(key, f"Zwölf {key}.", AudioFile(data, f"{key}.mp3"), sha256, *facts, "parrot 1", "en", "f")


ROWS = [audio_row("k1"), audio_row("k2", b"x" * 1000, None)]


@pytest.mark.parametrize("container", [Tar(), Parquet()], ids=["tar", "parquet"])
def test_rows_come_back(container):
    data = container.encode(ROWS)
    assert list(container.decode(data, "")) == ROWS
    assert container.encode(ROWS) == data


@pytest.mark.parametrize("container", [Tar(), Parquet()], ids=["tar", "parquet"])
@pytest.mark.parametrize("size", [0, 3, 700, -700])
def test_what_is_cut_off_is_damaged(container, size):
    data = container.encode([audio_row("k1", bytes(5000)), audio_row("k2", bytes(50_000))])[:size]
    if isinstance(container, Tar) and size == -700:
        data = data[: data.rindex(b'"schema_version"')]
    with pytest.raises(ValueError, match="name"):
        list(container.decode(data, "name"))


def test_newer_files_are_refused():
    data = Tar().encode(ROWS).replace(b'"schema_version": 1', b'"schema_version": 9')
    with pytest.raises(NewerSchemaError, match="schema version 9"):
        list(Tar().decode(data, "a.tar"))


@pytest.mark.parametrize(
    "members",
    [
        {"k1.mp3": b"sound", "k1.json": b"{"},
        {"k1.mp3": b"sound", "k1.json": b'{"schema_version": 1, "colour": "red"}'},
        {"k1.mp3": b"sound", "k1.json": b"[]"},
        {"k1.mp3": b"sound", "k1.json": b"\xff"},
    ],
    ids=["half", "foreign", "list", "bytes"],
)
def test_a_tar_of_something_else(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"a\.tar is damaged"):
        list(Tar().decode(file.getvalue(), "a.tar"))


def test_webdataset_streams_the_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(Tar().encode(ROWS))
    samples = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [(one["__key__"], one["mp3"]) for one in samples] == [("k1", b"sound"), ("k2", b"x" * 1000)]
    assert [json.loads(one["json"])["text"] for one in samples] == ["Zwölf k1.", "Zwölf k2."]
    assert json.loads(samples[1]["json"])["loudness_lufs"] is None


def test_the_parquet_is_what_datasets_calls_audio(tmp_path):
    (tmp_path / "a.parquet").write_bytes(Parquet().encode(ROWS))
    table = ds.dataset(tmp_path).to_table()
    assert str(table.schema.field("audio").type) == "struct<bytes: binary, path: string>"
    assert table["audio"].to_pylist()[0] == {"bytes": b"sound", "path": "k1.mp3"}
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features.keys() == set(table.schema.names)
    assert features["audio"] == {"_type": "Audio"}
    assert features["duration_seconds"] == {"_type": "Value", "dtype": "float32"}
    assert features["bytes"] == {"_type": "Value", "dtype": "int64"}
