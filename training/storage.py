"""Reads and writes whole files on any storage that fsspec reaches."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class StorageError(OSError):
    """Storage cannot do what was asked; the message says what and where."""


def filesystem(uri: str, options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a URI and the absolute path on it.

    Args:
        uri: a local path, or `protocol://path`.
        options: passed to fsspec; local files heed none.

    Raises:
        StorageError: for a protocol that fsspec does not know or whose client is not installed.
    """
    if "://" not in uri:
        uri = os.path.abspath(os.path.expanduser(uri))
    try:
        return fsspec.core.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise StorageError(f"cannot reach {uri}: {error}") from error


def absolute(uri: str, options: dict[str, Any]) -> str:
    """The URI of a path or URI, the same wherever it is named from."""
    fs, path = filesystem(uri, options)
    return fs.unstrip_protocol(path)


def read(uri: str, options: dict[str, Any]) -> bytes:
    """The whole file.

    Raises:
        OSError: if it cannot be read.
    """
    fs, path = filesystem(uri, options)
    with _own_errors_as_storage_errors():
        return fs.cat_file(path)


def files(folder: str, suffix: str, options: dict[str, Any]) -> list[str]:
    """URIs of the files directly in a folder, by name; hidden ones, among them temporaries, are left out.

    Raises:
        OSError: if the folder cannot be listed.
    """
    fs, path = filesystem(folder, options)
    with _own_errors_as_storage_errors():
        found = [item["name"] for item in fs.ls(path, detail=True) if item["type"] == "file"]
    return [
        fs.unstrip_protocol(name)
        for name in sorted(found)
        if name.endswith(suffix) and not os.path.basename(name).startswith(".")
    ]


def write(uri: str, data: bytes, options: dict[str, Any]) -> None:
    """Writes a whole file or nothing, replacing what is there.

    Local: a temporary in the same folder, fsync, `os.replace`. Elsewhere: one put.

    Raises:
        OSError: if it cannot be written.
    """
    fs, path = filesystem(uri, options)
    if not isinstance(fs, LocalFileSystem):
        with _own_errors_as_storage_errors():
            fs.pipe_file(path, data)
        return
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _own_errors_as_storage_errors() -> Iterator[None]:
    """Clients raise errors of their own (aiohttp, botocore, google-auth), which share no base but `Exception`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageError(f"{type(error).__name__}: {error}") from error
