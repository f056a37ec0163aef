"""A bundle's folder appears whole: its files are written beside it and the folder gets its name at the end."""

import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Mapping

from beamscribe.storage import whole_files

_RANDOM = "[0-9a-f]{8}"


def write_folder(path: str, contents: Mapping[str, bytes], last: str, replaced: Collection[str] = ()) -> None:
    """Writes a folder that is not there yet, or is empty, at once; into one with files, file by file.

    Args:
        path: local.
        contents: of the files by name.
        last: the file that says that the others are whole; it is written after them where they are written one by one.
        replaced: names of files that are removed afterwards, where the folder has them.

    Raises:
        OSError: if it cannot be written; what is there then is as it was, or told from a whole one by its digests.
    """
    path = os.path.realpath(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _remove_leftovers(path, contents)
    if os.path.isdir(path) and os.listdir(path):
        _write_one_by_one(path, contents, last)
        for name in set(replaced) - contents.keys():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(path, name))
        return
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}{whole_files.TEMPORARY_SUFFIX}")
    os.mkdir(temporary)
    try:
        _write_one_by_one(temporary, contents, last)
        try:
            # An empty folder of that name gives way.
            os.rename(temporary, path)
        except OSError:
            # It is where another disk is mounted.
            _write_one_by_one(path, contents, last)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_one_by_one(folder: str, contents: Mapping[str, bytes], last: str) -> None:
    for name in sorted(contents, key=lambda name: name == last):
        whole_files.replace(os.path.join(folder, name), contents[name])


def _remove_leftovers(path: str, names: Collection[str]) -> None:
    """Removes folders that a killed process left beside `path`: of our exact name, and with our files alone."""
    folder, name = os.path.split(path)
    args = re.compile(rf"\.{re.escape(name)}\.{_RANDOM}{re.escape(whole_files.TEMPORARY_SUFFIX)}")
    for found in os.listdir(folder):
        left = os.path.join(folder, found)
        named = args.fullmatch(found) and os.path.isdir(left) and not os.path.islink(left)
        if named and all(file in names or whole_files.TEMPORARY.fullmatch(file) for file in os.listdir(left)):
            shutil.rmtree(left, ignore_errors=True)


def is_leftover(path: str, names: Collection[str], last: str, telling: Collection[str]) -> bool:
    """Whether a folder holds nothing but what was written before `last`, when the process ended.

    Args:
        path: local folder.
        names: of the files that are written there.
        last: of these.
        telling: those of them that nobody else has a reason to put there; one is needed, or a temporary.
    """
    found = os.listdir(path)
    # Version 0.1 wrote `.NAME.tmp`.
    old = {f".{name}{whole_files.TEMPORARY_SUFFIX}" for name in names}
    temporary = {file for file in found if whole_files.TEMPORARY.fullmatch(file) or file in old}
    if last in found or not temporary.union(names).issuperset(found):
        return False
    return bool(temporary or set(telling) & set(found))


def unwritable(path: str) -> str | None:
    """Why nothing can be written at a path, found out by writing beside it; None if something can.

    Args:
        path: local, of a folder that need not be there yet.
    """
    folder = os.path.dirname(os.path.realpath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)
