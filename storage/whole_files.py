"""Local files that are there whole or not at all, whatever ends the process or the machine."""

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO

TEMPORARY_SUFFIX = ".tmp"
"""Temporaries are `.NAME.RANDOM.tmp` in the folder of the file that they become."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""The whole name of a temporary; no other file is taken for one."""

NAME_BYTES = 100
"""Bytes of NAME at most, which is cut there: a file system that takes 255 bytes takes fewer where it encrypts names,
and the name of a file that just fits would be too long with anything added to it."""


def unwritable(path: str) -> str | None:
    """The folder in which a file or folder would be made, if this process may not write there; else None."""
    place = path
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return None if os.access(place, os.W_OK | os.X_OK) else place


def replace(path: str, data: bytes, permitted: Callable[[], None] = lambda: None) -> None:
    """Writes a file, in the place of the one that is there.

    Args:
        path: of the file.
        data: its bytes.
        permitted: called when all is written but the name; what it raises keeps the file from getting that.

    Raises:
        OSError: if it cannot be written.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _temporary(path, data) as temporary:
        permitted()
        os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def create(path: str, data: bytes) -> bool:
    """Writes a file unless there is one, and says whether it did.

    Raises:
        OSError: if it cannot be written.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def temporaries(root: str, folders: Iterable[str] = ("",)) -> list[str]:
    """What killed processes left, by path from a root.

    Args:
        root: folder.
        folders: below it, that are looked through. Links lead to what is not ours: none is followed or reported.
    """
    places = (os.path.join(root, folder) for folder in folders)
    return sorted(
        os.path.relpath(path, root)
        for place in places
        if place.rstrip("/") == root.rstrip("/") or not os.path.islink(place)
        for folder, _, names in os.walk(place)
        for name in names
        if TEMPORARY.fullmatch(name) and not os.path.islink(path := os.path.join(folder, name))
    )


def temporary_of(path: str) -> str:
    """A new name for a temporary beside a file."""
    folder, name = os.path.split(path)
    kept = name.encode("utf-8", "surrogateescape")[:NAME_BYTES].decode("utf-8", "ignore")
    return os.path.join(folder, f".{kept}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to write any number of bytes into; it takes the place of `path` at the end, unless an error comes first.

    Raises:
        OSError: if it cannot be written; the file that was there is as it was.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = temporary_of(path)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """A fully written, synced file beside `path`; removed afterwards if it still bears its own name."""
    temporary = temporary_of(path)
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            # A full disk does not say which file it was.
            raise OSError(error.errno, error.strerror, path) from None
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
