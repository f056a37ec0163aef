"""Files by their URIs, on any storage that fsspec reaches; what can pass is tried again, see `model.transient`."""

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from model.transient import TIMEOUT_SECONDS, StorageError, is_transient, retried, within
from model.web import WEB, web_options


def filesystem(uri: str, options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a URI and the path on it.

    Args:
        uri: a local path, or `protocol://path`.
        options: passed to fsspec for remote protocols; local files take none.

    Raises:
        StorageError: for a protocol that fsspec does not know or whose client is not installed.
    """
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    try:
        if protocol == "file":
            return fsspec.core.url_to_fs(os.path.expanduser(uri))
        return fsspec.core.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise StorageError(f"cannot reach {uri}: {error}") from error


def canonical(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """The one absolute URI of a path, safe to store as UTF-8; local paths lose `..` and double slashes.

    A local name that is not UTF-8 is written with backslash escapes: it cannot be opened by that URI,
    so it ends as a failure row instead of stopping the job.
    """
    if isinstance(fs, LocalFileSystem):
        path = os.path.normpath(path)
    return fs.unstrip_protocol(path).encode("utf-8", "backslashreplace").decode("utf-8")


def read_uri(uri: str, options: dict[str, Any], allow_private: bool = False) -> bytes:
    """The whole file behind a URI.

    Args:
        uri: a local path, or `protocol://path`.
        options: passed to fsspec for remote protocols.
        allow_private: whether http(s) may ask private, loopback and link-local addresses, see `model.web`.

    Raises:
        OSError: if it cannot be read, whatever the storage's client calls its error.
    """
    return read_path(*_guarded(uri, options, allow_private))


def read_range(uri: str, start: int, size: int, options: dict[str, Any], allow_private: bool = False) -> bytes:
    """Some bytes of a file, fewer where it ends before; as `read_uri` otherwise.

    Args:
        uri: a local path, or `protocol://path`.
        start: of the first byte.
        size: bytes.
        options: passed to fsspec for remote protocols.
        allow_private: as in `read_uri`.

    Raises:
        OSError: if it cannot be read.
    """
    return read_path_range(*_guarded(uri, options, allow_private), start, start + size)


def open_uri(uri: str, options: dict[str, Any], allow_private: bool = False) -> IO[bytes]:
    """A file to seek in; what goes wrong while it is read is an error of the storage's client.

    Raises:
        OSError: if it cannot be opened.
    """
    fs, path = _guarded(uri, options, allow_private)
    with only_os_errors():
        return fs.open(path, "rb")


def _guarded(uri: str, options: dict[str, Any], allow_private: bool) -> tuple[fsspec.AbstractFileSystem, str]:
    if uri.startswith(WEB):
        options = {**web_options(allow_private), **options}
    return filesystem(uri, options)


def absolute(uri: str, options: dict[str, Any]) -> str:
    """The URI of a path or URI, the same wherever it is named from."""
    return canonical(*filesystem(uri, options))


@retried
def read_path(fs: fsspec.AbstractFileSystem, path: str) -> bytes:
    """The whole file at a path of a filesystem; as `read_uri` otherwise."""
    if isinstance(fs, LocalFileSystem):
        with open(path, "rb") as file:
            return file.read()
    with only_os_errors():
        return within(TIMEOUT_SECONDS, lambda: fs.cat_file(path))


@retried
def read_path_range(fs: fsspec.AbstractFileSystem, path: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a file at a path of a filesystem; as `read_range` otherwise."""
    with only_os_errors():
        return within(TIMEOUT_SECONDS, lambda: fs.cat_file(path, start=start, end=end))


@contextlib.contextmanager
def only_os_errors() -> Iterator[None]:
    """Clients raise errors of their own (aiohttp, botocore, google-auth), which share no base but `Exception`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageError(f"{type(error).__name__}: {error}", is_transient(error)) from error
