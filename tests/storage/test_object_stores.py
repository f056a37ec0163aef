"""Storage on object stores, through the clients that speak to the real ones."""

import fsspec
import pytest

from beamscribe.storage.storage import Entry, Storage
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import FileTooLargeError, filesystem, read_uri
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


def test_between_a_look_and_a_put_nobody_comes(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    args = Storage(f"{s3.root}/out", s3.options)
    monkeypatch.setattr(Storage, "exists", lambda self, name: s3.put(f"out/{name}", b"theirs") is None)
    assert not args.create("lease", b"ours")
    assert args.read("lease") == b"theirs"


def test_google_is_asked_to_put_only_where_nothing_is(gcs: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # The emulator takes no notice of the condition.
    client = type(fsspec.filesystem("gs", **gcs.options))
    asked: list[dict[str, object]] = []
    call = client._call

    async def noting(self: object, *args: object, **kwargs: object) -> object:
        asked.append(kwargs)
        return await call(self, *args, **kwargs)

    monkeypatch.setattr(client, "_call", noting)
    assert Storage(gcs.root, gcs.options).create("lease", b"ours")
    assert any(kwargs.get("ifGenerationMatch") == "0" for kwargs in asked)


def test_an_own_put_whose_answer_was_lost_is_an_own_file(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    args = Storage(f"{s3.root}/out", s3.options)
    client = type(fsspec.filesystem("s3", **s3.options))
    put = client.pipe_file

    def lost(self: object, path: str, data: bytes, **kwargs: object) -> None:
        put(self, path, data, **kwargs)
        monkeypatch.setattr(client, "pipe_file", put)
        raise ConnectionResetError

    monkeypatch.setattr(client, "pipe_file", lost)
    assert args.create("lease", b"ours")


def test_odd_names_are_exact(object_store: ObjectStore) -> None:
    names = ("cat::1.jpg", "a#1.jpg", "b?x=1.jpg", "%41.jpg", "a b [1].jpg", "x//y.jpg", "zip::z.jpg")
    for name in names:
        object_store.put(name.partition("::")[0] + " decoy", b"decoy")
        fs, path = filesystem(f"{object_store.root}/odd/{name}", object_store.options)
        fs.pipe_file(path, name.encode())
    for name in names:
        uri = f"{object_store.root}/odd/{name}"
        assert read_uri(uri, object_store.options) == read_uri(uri, object_store.options, max_bytes=99) == name.encode()
    folder = Storage(f"{object_store.root}/two::parts #1", object_store.options)
    folder.write("f", b"x")
    assert folder.files("") == [Entry("f", 1)]
    assert folder.uri("f") == f"{object_store.root}/two::parts #1/f"


@pytest.mark.slow
def test_secrets_come_from_the_environment(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("x", b"1")
    options = {**s3.options, "secret": "env:SECRET_OF_A_TEST", "client_kwargs": {"region_name": "env:REGION_OF_A_TEST"}}
    with pytest.raises(StorageError, match="the environment variable SECRET_OF_A_TEST, which is not set here"):
        read_uri(f"{s3.root}/x", options)
    monkeypatch.setenv("SECRET_OF_A_TEST", "test")
    monkeypatch.setenv("REGION_OF_A_TEST", "us-east-1")
    fs, path = filesystem(f"{s3.root}/x", {**options, "key": "test"})
    assert (fs.secret, fs.cat_file(path)) == ("test", b"1")


def test_size_is_looked_at_before(object_store: ObjectStore) -> None:
    uri = object_store.put("large", b"x" * 1000)
    assert read_uri(object_store.put("none", b""), object_store.options, max_bytes=10) == b""
    assert len(read_uri(uri, object_store.options, max_bytes=1000)) == 1000
    with pytest.raises(FileTooLargeError, match="--max-bytes"):
        read_uri(uri, object_store.options, max_bytes=999)


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
