"""Speech to S3 and Google Cloud Storage on this machine, in every layout."""

import json

import pytest

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.pipelines.runtime.flags.speak import LAYOUTS
from beamscribe.storage.storage import Storage
from tests.object_stores import ObjectStore
from tests.pipelines.test_speak import TEXTS, index_of, sound_of, write_captions


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_speaks_verifies_and_continues(object_store: ObjectStore, tmp_path, layout):
    where = ["--output", f"{object_store.root}/speech", "--storage-options", json.dumps(object_store.options)]
    captions = write_captions(tmp_path / "captions", TEXTS)
    command = ["speak", "--captions", captions, *where, f"--layout={layout}", "--shard-size=2"]
    assert main(command) == DONE
    output = Storage(f"{object_store.root}/speech", object_store.options)
    assert {id: row["caption"] for id, row in index_of(output).items()} == TEXTS
    sounds = sound_of(output)
    assert len(set(sounds.values())) == 3
    before = {entry.name: output.read(entry.name) for entry in output.walk("audio")}
    for entry in output.files("index"):
        output.delete(entry.name)
    assert main(command) == DONE
    assert {entry.name: output.read(entry.name) for entry in output.walk("audio")} == before
    assert sound_of(output) == sounds
    assert main(["verify", *where[1:]]) == DONE


@pytest.mark.slow
def test_captions_in_an_object_store(object_store: ObjectStore, tmp_path, local):
    folder = write_captions(tmp_path / "captions", TEXTS)
    [file] = (tmp_path / "captions" / "captions").iterdir()
    uri = object_store.put("theirs/1.parquet", file.read_bytes())
    options = ["--storage-options", json.dumps(object_store.options)]
    assert folder
    for captions in (uri, f"{object_store.root}/theirs", f"{object_store.root}/the*/*.parquet"):
        assert main(["speak", "--captions", captions, "--output", local.root, *options]) == DONE
    assert len(index_of(local)) == 4
