import os
from pathlib import Path

import pytest

from training import storage


@pytest.mark.parametrize("root", ["", "memory://made"])
def test_what_is_written_is_read_back_and_replaced_whole(root: str, tmp_path: Path) -> None:
    folder = root or str(tmp_path / "new" / "folder [1]")
    for data in (b"longer than the next", b"short", b""):
        storage.write(f"{folder}/scores.json", data, {})
        assert storage.read(f"{folder}/scores.json", {}) == data
    storage.write(f"{folder}/.hidden.json", b"", {})
    storage.write(f"{folder}/deeper/other.json", b"", {})
    storage.write(f"{folder}/a.parquet", b"", {})
    found = storage.files(folder, ".json", {})
    assert found == [storage.absolute(f"{folder}/scores.json", {})]
    assert storage.read(found[0], {}) == b""


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write(str(tmp_path / "scores.json"), b"old", {})

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        storage.write(str(tmp_path / "scores.json"), b"new", {})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("scores.json", b"old")]


def test_whatever_goes_wrong_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read(str(tmp_path / "missing"), {})
    with pytest.raises(FileNotFoundError):
        storage.files(str(tmp_path / "missing"), "", {})
    with pytest.raises(storage.StorageError, match="cannot reach nothing://here"):
        storage.read("nothing://here", {})

    class ClientError(Exception):
        """As botocore's: no OSError."""

    def refuse(*arguments: object) -> None:
        raise ClientError("access denied")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", refuse)
    with pytest.raises(storage.StorageError, match="ClientError: access denied"):
        storage.read("memory://made/scores.json", {})


def test_options_are_for_remote_storage_only(tmp_path: Path) -> None:
    options = {"no_such_option_of_local_files": object()}
    storage.write(str(tmp_path / "scores.json"), b"{}", options)
    assert storage.read(f"file://{tmp_path}/scores.json", options) == b"{}"
