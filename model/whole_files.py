"""Local files that are there whole or not at all, whatever ends the process or the machine."""

import contextlib
import os
import uuid
from collections.abc import Iterator

TEMPORARY_SUFFIX = ".tmp"
"""Temporaries are `.NAME.RANDOM.tmp` in the folder of the file that they become."""


def replace(path: str, data: bytes) -> None:
    """Writes a file, in the place of the one that is there.

    Raises:
        OSError: if it cannot be written.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _temporary(path, data) as temporary:
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


def temporaries(root: str) -> list[str]:
    """What killed processes left below a folder, by path from there."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, names in os.walk(root)
        for name in names
        if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)
    )


@contextlib.contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """A fully written, synced file beside `path`; removed afterwards if it still bears its own name."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")
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
