"""A bundle's folder is whole or not there, whatever ends the writing."""

import errno
import os
from pathlib import Path

import pytest

from beamscribe.model.bundle import CONFIG, NAMES, WEIGHTS, is_unfinished
from beamscribe.model.bundle_folder import unwritable, write_folder
from beamscribe.storage import whole_files

CONTENTS = {WEIGHTS: b"weights", "vocabulary.txt": b"words", CONFIG: b"{}"}


def write(path: Path, contents: dict[str, bytes] = CONTENTS) -> None:
    write_folder(str(path), contents, CONFIG, NAMES)


def found(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "a link to one"])
def test_a_folder_appears_at_once(before: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "bundle"
    if before != "nothing":
        path.parent.mkdir()
        (tmp_path / "new" / "elsewhere").mkdir()
        if before == "a link to one":
            path.symlink_to("elsewhere")
        else:
            path.mkdir()
    write(path)
    assert found(path) == CONTENTS
    assert not [name for name in os.listdir(path.parent) if name.startswith(".")]


@pytest.mark.parametrize("stop_at", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_the_writing_leaves_nothing(
    stop_at: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = whole_files.replace, []

    def stopping(path: str, data: bytes) -> None:
        calls.append(path)
        if len(calls) == stop_at:
            raise error
        replace(path, data)

    path = tmp_path / "bundle"
    with monkeypatch.context() as patch:
        patch.setattr(whole_files, "replace", stopping)
        with pytest.raises(type(error)):
            write(path)
    assert os.listdir(tmp_path) == []
    write(path)
    assert found(path) == CONTENTS


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / ".bundle.0123abcd.tmp"
    left.mkdir()
    (left / WEIGHTS).write_bytes(b"half")
    (left / f".{CONFIG}.0123abcd.tmp").write_bytes(b"")
    foreign = [".bundle.0123abce.tmp", ".bundle.0123abcf.tmp", ".other.0123abcd.tmp", ".bundle.tmp", ".bundle.x.tmp"]
    for name in foreign:
        (tmp_path / name).mkdir()
        (tmp_path / name / WEIGHTS).write_bytes(b"half")
    (tmp_path / foreign[0] / "photo.jpg").write_bytes(b"mine")
    (tmp_path / foreign[1] / WEIGHTS).unlink()
    (tmp_path / foreign[1]).rmdir()
    (tmp_path / foreign[1]).symlink_to(tmp_path / foreign[2])
    write(tmp_path / "bundle")
    assert sorted(os.listdir(tmp_path)) == sorted(["bundle", *foreign])
    assert (tmp_path / foreign[2] / WEIGHTS).exists()


def test_over_an_earlier_one_other_peoples_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    write(path, {**CONTENTS, "backbone.h5": b"old"})
    (path / "notes.txt").write_bytes(b"mine")
    write(path, {**CONTENTS, WEIGHTS: b"new"})
    assert found(path) == {**CONTENTS, WEIGHTS: b"new", "notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("names", "unfinished"),
    [
        ([WEIGHTS], True),
        ([WEIGHTS, "vocabulary.txt", ".metrics.json.tmp"], True),
        ([".captioner.npz.0123abcd.tmp"], True),
        (["backbone.npz"], True),
        ([WEIGHTS, CONFIG], False),
        ([WEIGHTS, "cat.jpg"], False),
        (["README.md"], False),
        ([], False),
    ],
)
def test_an_unfinished_bundle_is_told_from_other_folders(names: list[str], unfinished: bool, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert is_unfinished(str(tmp_path)) == unfinished


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unwritable(str(tmp_path / "a" / "b")) is None
    assert unwritable(str(tmp_path / "file" / "b")) == "File exists"
    assert os.listdir(tmp_path / "a") == []
