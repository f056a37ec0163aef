"""Storage on object stores, through the clients that speak to the real ones."""

import pytest

from model.storage import Entry, Storage
from model.uri import read_uri
from tests.object_stores import ObjectStore


@pytest.fixture
def output(object_store: ObjectStore) -> Storage:
    return Storage(f"{object_store.root}/out", object_store.options)


def test_what_is_written_is_there_whole(output: Storage, object_store: ObjectStore) -> None:
    output.write("rows/a.parquet", b"one")
    output.write("rows/a.parquet", b"four")
    assert output.read("rows/a.parquet") == b"four"
    assert output.files("rows") == [Entry("rows/a.parquet", 4)]
    assert read_uri(output.uri("rows/a.parquet"), object_store.options) == b"four"
    assert object_store.names() == ["out/rows/a.parquet"]


def test_a_file_can_be_empty(output: Storage) -> None:
    output.write("marker", b"")
    assert output.exists("marker")
    assert output.read("marker") == b""


def test_only_the_first_creates(output: Storage) -> None:
    assert output.create("lease", b"mine")
    assert not output.create("lease", b"yours")
    assert output.read("lease") == b"mine"


def test_what_is_not_there(output: Storage) -> None:
    assert not output.exists("nothing")
    assert output.files("nothing") == []
    output.delete("nothing")
    with pytest.raises(FileNotFoundError):
        output.read("nothing")


def test_what_another_process_wrote_is_seen(output: Storage, object_store: ObjectStore) -> None:
    output.write("rows/a.parquet", b"one")
    assert len(output.files("rows")) == 1
    object_store.put("out/rows/sub/b.parquet", b"two")
    assert output.walk("rows") == [Entry("rows/a.parquet", 3), Entry("rows/sub/b.parquet", 3)]
    output.delete("rows/a.parquet")
    assert [entry.name for entry in output.walk("rows")] == ["rows/sub/b.parquet"]
