import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from beamscribe.storage import whole_files
from beamscribe.storage.storage import Entry, Storage
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import canonical, filesystem, read_uri


class ShortFileSystem(MemoryFileSystem):
    """Loses the last byte of what it is given, and says nothing."""

    protocol = "short"
    store = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("short://", "memory://"))

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        super().pipe_file(path, value[:-1], mode, **kwargs)


def names(folder):
    return sorted(os.listdir(folder))


def test_writes_reads_replaces_and_deletes(output):
    assert not output.exists("a/b/file.bin")
    output.write("a/b/file.bin", b"first, and longer")
    assert output.read("a/b/file.bin") == b"first, and longer"
    output.write("a/b/file.bin", b"second")
    assert output.read("a/b/file.bin") == b"second"
    assert output.exists("a/b/file.bin")
    output.delete("a/b/file.bin")
    assert not output.exists("a/b/file.bin")
    output.delete("a/b/file.bin")  # none there is no error


def test_writes_an_empty_file(output):
    output.write("empty", b"")
    assert output.read("empty") == b""


def test_reading_a_missing_file_is_an_os_error(output):
    with pytest.raises(FileNotFoundError):
        output.read("nothing")


@pytest.mark.parametrize("name", ["../above", "f/../../above", "..", "f/.."])
def test_no_name_leads_out_of_the_folder(output, name):
    output.write("above", b"somebody else's")
    below = Storage(f"{output.root}/below")
    for call in (below.read, below.exists, below.delete, lambda name: below.write(name, b"x")):
        with pytest.raises(StorageError, match="is not below"):
            call(name)


def test_only_regular_files_are_read(local):
    os.makedirs(local.path(""), exist_ok=True)
    os.mkfifo(local.path("pipe"))
    os.symlink("/dev/zero", local.path("zero"))
    for name in ("pipe", "zero"):
        for call in (local.read, lambda name: local.read_range(name, 0, 1)):
            with pytest.raises(OSError, match="not a regular file"):
                call(name)


def test_reads_ranges(output):
    output.write("f", b"0123456789")
    assert output.read_range("f", 3, 4) == b"3456"
    assert output.read_range("f", 8, 9) == b"89"
    with pytest.raises(FileNotFoundError):
        output.read_range("nothing", 0, 1)


def test_reads_many_files_in_order(output):
    for number in range(40):
        output.write(f"f/{number}", str(number).encode())
    found = output.read_each([f"f/{number}" for number in (*range(40), "gone")])
    assert [next(found) for _ in range(40)] == [str(number).encode() for number in range(40)]
    with pytest.raises(FileNotFoundError):
        next(found)


def test_clients_with_one_connection_are_asked_by_one_thread(memory, tmp_path):
    def thread(_):
        time.sleep(0.001)
        return threading.get_ident()

    assert len(set(memory.prefetch(thread, range(50)))) == 1
    assert len(set(Storage(str(tmp_path)).prefetch(thread, range(50)))) > 1


def test_lists_files_of_one_folder_by_name(output):
    for name in ("f/b.json", "f/a.json", "f/c.txt", "f/deeper/d.json", "f/.a.json.1234.tmp", "f/.hidden", "other.json"):
        output.write(name, name.encode())
    assert output.files("f") == [Entry("f/a.json", 8), Entry("f/b.json", 8), Entry("f/c.txt", 7)]
    assert output.files("f", ".json") == [Entry("f/a.json", 8), Entry("f/b.json", 8)]
    assert output.files("") == [Entry("other.json", 10)]
    assert output.files("no/such/folder") == []


def test_walks_folders(output):
    for name in ("audio/ab/cd/1.mp3", "audio/2.mp3", "audio/ab/.1.mp3.1234.tmp", "elsewhere/3.mp3"):
        output.write(name, b"12345")
    assert output.walk("audio") == [Entry("audio/2.mp3", 5), Entry("audio/ab/cd/1.mp3", 5)]
    assert output.walk("nothing") == []


def test_sees_what_another_handle_wrote(output):
    assert output.files("f") == []
    Storage(output.root).write("f/new", b"1")
    assert output.files("f") == [Entry("f/new", 1)]


def test_creates_only_what_is_not_there(output):
    assert output.create("folder/lease", b"mine")
    assert not output.create("folder/lease", b"yours")
    assert output.read("folder/lease") == b"mine"
    assert output.temporaries() == []


def test_of_two_threads_exactly_one_creates(local):
    for turn in range(30):
        barrier = threading.Barrier(2)

        def create(content, turn=turn, barrier=barrier):
            barrier.wait()
            return local.create(f"lease-{turn}", content)

        with ThreadPoolExecutor(2) as pool:
            won = list(pool.map(create, (b"first", b"second")))
        assert sorted(won) == [False, True]
        assert local.read(f"lease-{turn}") == (b"first" if won[0] else b"second")


def test_whoever_is_first_by_a_hair_wins(local, monkeypatch):
    """Between a look and the rename there is time for another: only a call that does both at once is safe."""

    def overtaken(call):
        def overtaken_call(source, target):
            with open(target, "wb") as file:
                file.write(b"theirs")
            return call(source, target)

        return overtaken_call

    monkeypatch.setattr(os, "link", overtaken(os.link))
    monkeypatch.setattr(os, "replace", overtaken(os.replace))
    monkeypatch.setattr(os, "rename", overtaken(os.rename))
    assert not local.create("lease", b"ours")
    assert local.read("lease") == b"theirs"
    assert local.temporaries() == []


def test_a_write_that_dies_before_the_rename_changes_nothing(local, monkeypatch):
    local.write("f/data", b"old")
    seen = []

    def die(source, target):
        seen.append((names(local.path("f")), target))
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(OSError, match="killed"):
        local.write("f/data", b"new and longer")
    assert local.read("f/data") == b"old"
    assert names(local.path("f")) == ["data"]
    [(during, target)] = seen
    assert target == local.path("f/data")
    temporary, kept = during
    assert kept == "data"
    assert temporary.startswith(".data.")
    assert temporary.endswith(".tmp")


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return(local, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(file):
        calls.append("fsync folder" if os.path.isdir(f"/proc/self/fd/{file}") else "fsync file")
        fsync(file)

    def noting_replace(source, target):
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    local.write("f/data", b"x")
    assert calls == ["fsync file", "replace", "fsync folder"]


def test_a_reader_sees_one_whole_version_or_the_other(local):
    versions = (b"a" * 300_000, b"b" * 700_000)
    local.write("data", versions[0])
    stop = threading.Event()

    def keep_writing():
        turn = 0
        while not stop.is_set():
            turn += 1
            local.write("data", versions[turn % 2])

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(200):
            assert local.read("data") in versions
    finally:
        stop.set()
        writer.join()


def test_finds_temporaries_of_killed_processes_only(local):
    local.write("f/data", b"x")
    args = [".top.00000001.tmp", "f/.data.0123abcd.tmp", "f/deep/.data.ffffffff.tmp"]
    foreign = ["f/not-hidden.tmp", "f/.hidden", ".top.1.tmp", ".swap.tmp", "f/.00000001.tmp", "f/.data.0123ABCD.tmp"]
    for name in args + foreign:
        os.makedirs(os.path.dirname(local.path(name)), exist_ok=True)
        with open(local.path(name), "wb"):
            pass
    assert local.temporaries() == args


def test_links_and_other_folders_are_not_looked_through(local, tmp_path):
    name = ".x.parquet.12345678.tmp"
    for folder in ("captions/deep", "photographs", "elsewhere"):
        local.write(f"{folder}/{name}", b"x")
    os.symlink(local.path("elsewhere"), local.path("captions/linked"))
    os.symlink(local.path("elsewhere"), local.path("failures"))
    os.symlink(local.path(f"elsewhere/{name}"), local.path(f"captions/{name}"))
    assert local.temporaries(("captions", "failures", "audio")) == [f"captions/deep/{name}"]


@pytest.mark.parametrize("name", ["m" * 251 + ".txt", "é" * 127, "字" * 85])
def test_a_name_that_fits_can_be_written(local, name):
    local.write(f"f/{name}", b"x")
    assert local.create(f"f/{name}", b"y") is False
    with whole_files.replacing(local.path(f"f/{name}")) as file:
        file.write(b"z")
        assert [entry.name for entry in local.files("f")] == [f"f/{name}"]
        assert len(local.temporaries()) == 1
    assert local.read(f"f/{name}") == b"z"
    assert names(local.path("f")) == [name]


def test_a_file_that_is_written_in_pieces_is_there_whole_or_as_it_was(local):
    local.write("f/data", b"old")

    def fail_in_the_middle():
        with whole_files.replacing(local.path("f/data")) as file:
            file.write(b"half")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail_in_the_middle()
    assert local.read("f/data") == b"old"
    assert names(local.path("f")) == ["data"]


def test_object_stores_have_no_temporaries(memory):
    memory.write("f/.data.2.tmp", b"x")
    assert memory.temporaries() == []


def test_tells_when_fewer_bytes_arrived():
    fsspec.register_implementation("short", ShortFileSystem, clobber=True)
    with pytest.raises(StorageError, match=r"folder/name holds 4 of the 5 bytes"):
        Storage("short://folder").write("name", b"12345")


def test_a_file_in_the_way_of_a_folder_is_an_os_error(local):
    local.write("f", b"a file")
    with pytest.raises(OSError, match="f"):
        local.write("f/data", b"x")


def test_unknown_protocols_are_storage_errors_that_name_the_uri():
    with pytest.raises(StorageError, match="nosuch://bucket/key"):
        filesystem("nosuch://bucket/key", {})
    with pytest.raises(StorageError):
        read_uri("nosuch://bucket/key", {})
    with pytest.raises(StorageError):
        Storage("nosuch://bucket").exists("key")


@pytest.mark.parametrize("uri", ["sftp://me:SECRET@h/x", "s3://k:SECRET@b/x", "zip://a::sftp://me:SECRET@h/a.zip"])
def test_passwords_are_refused_and_not_repeated(uri):
    for call in (lambda: read_uri(uri, {}), lambda: Storage(uri).files("")):
        with pytest.raises(StorageError, match="holds a password") as error:
            call()
        assert "SECRET" not in str(error.value)


def test_chains_are_taken_apart_nowhere_else(tmp_path):
    with pytest.raises(StorageError, match="chain of URIs, which only --images takes"):
        read_uri(f"zip://a::{tmp_path}/a.zip", {})


def test_local_files_take_no_storage_options(tmp_path):
    (tmp_path / "a").write_bytes(b"local")
    assert read_uri(str(tmp_path / "a"), {"anon": True}) == b"local"
    assert read_uri(f"file://{tmp_path}/a", {"anon": True}) == b"local"


def test_whatever_a_client_raises_is_an_os_error(memory, monkeypatch):
    class ClientError(Exception):
        """As botocore's: no OSError."""

    def refuse(*arguments, **options):
        raise ClientError("access denied")

    for method in ("cat_file", "ls", "pipe_file"):
        monkeypatch.setattr(MemoryFileSystem, method, refuse)
    for ask in (
        lambda: memory.read("x"),
        lambda: read_uri(memory.uri("x"), {}),
        lambda: memory.files(""),
        lambda: memory.write("x", b""),
    ):
        with pytest.raises(StorageError, match="ClientError: access denied"):
            ask()


def test_reads_uris(tmp_path, memory):
    memory.write("x", b"remote")
    assert read_uri(memory.uri("x"), {}) == b"remote"
    with pytest.raises(FileNotFoundError):
        read_uri(str(tmp_path / "missing"), {})
    with pytest.raises(FileNotFoundError):
        read_uri(memory.uri("missing"), {})


def test_uris_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = f"file://{tmp_path}/out/captions/1.parquet"
    for root in ("out", "./out", "out/", str(tmp_path / "out"), f"file://{tmp_path}/out"):
        assert Storage(root).uri("captions/1.parquet") == expected
    assert Storage("~/out").uri("x") == f"file://{tmp_path}/home/out/x"
    assert Storage("memory://bucket/out").uri("x") == "memory:///bucket/out/x"


@pytest.mark.parametrize("root", ["out/../out", "../{here}/out", "{parent}//{here}/out"])
def test_a_path_has_one_canonical_uri(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    root = root.format(here=tmp_path.name, parent=tmp_path.parent)
    fs, path = filesystem(root, {})
    assert canonical(fs, path) == f"file://{tmp_path}/out"


def test_names_that_are_not_utf8_have_a_uri_that_can_be_stored(tmp_path):
    names = [b"caf\xe9.jpg", b"caf\xe8.jpg"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"x")
    fs, path = filesystem(str(tmp_path), {})
    uris = {canonical(fs, os.path.join(path, os.fsdecode(name))) for name in names}
    assert uris == {f"file://{tmp_path}/caf\\udce9.jpg", f"file://{tmp_path}/caf\\udce8.jpg"}
    assert all(uri.encode("utf-8").decode("utf-8") == uri for uri in uris)


def test_travels_to_a_worker(output):
    output.write("x", b"1")  # the filesystem is open now
    assert pickle.loads(pickle.dumps(output)).read("x") == b"1"
