"""Files by their URIs, on any storage that fsspec reaches; what can pass is tried again, see `storage.transient`."""

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from beamscribe.storage.location import Location, has_password, is_chain, locate, shown
from beamscribe.storage.s3_objects import LargeObjectError, s3_objects
from beamscribe.storage.transient import TIMEOUT_SECONDS, StorageError, is_transient, retried, within
from beamscribe.storage.web import WebFileSystem, web_filesystem

ENVIRONMENT = "env:"

_EXACT = ("s3", "gs", "memory")
"""Protocols whose URIs hold nothing but bucket and name; of others fsspec reads hosts and users from the URI."""

CONNECTIONS = 256
"""That the client of S3 may open; its own default, 10, would be the width of all reading."""

FIRST_BYTES = 2**23
"""Bytes of a file of unknown size that are asked for first: nearly every photograph is whole then, after one answer."""

_LOCAL = LocalFileSystem()

_LARGE = threading.BoundedSemaphore(4)
"""Files beyond that which a process reads at once, so that many readers do not fill its memory."""


class FileTooLargeError(OSError):
    """A file has more bytes than are read."""


def filesystem(uri: str, options: dict[str, Any], allow_private: bool = False) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a URI and the exact path on it; a URI that a file names is checked by `named_uri` before.

    Args:
        uri: a local path, or `protocol://path`.
        options: passed to fsspec for remote protocols; local files take none. See `from_environment` for secrets.
        allow_private: whether http(s) may ask private, loopback and link-local addresses, see `beamscribe.storage.web`.

    Raises:
        StorageError: for a protocol that fsspec does not know or whose client is not installed.
    """
    location = locate(uri)
    if has_password(uri):
        raise StorageError(f"{shown(uri)} holds a password, which every row would repeat: leave it out")
    if is_chain(uri):
        raise StorageError(f"{uri} is a chain of URIs, which only --images takes, as zip:// or tar://")
    if not location.local:
        options = from_environment(options)
    try:
        if location.local:
            return _LOCAL, location.path
        if location.web:
            return web_filesystem(allow_private, options), location.path
        return _remote(location, options), location.path
    except (ImportError, ValueError, TypeError) as error:
        raise StorageError(f"cannot reach {shown(uri)}: {error}") from error


def _remote(location: Location, options: dict[str, Any]) -> fsspec.AbstractFileSystem:
    kind = fsspec.get_filesystem_class(location.protocol)
    found = {} if location.protocol in _EXACT else kind._get_kwargs_from_urls(f"{location.protocol}://{location.path}")
    own = options.get(location.protocol)
    chosen = {**found, **(own if isinstance(own, dict) else options)}
    if location.protocol == "s3":
        chosen["config_kwargs"] = {"max_pool_connections": CONNECTIONS, **(chosen.get("config_kwargs") or {})}
    return kind(**chosen)


def from_environment(options: Any) -> Any:
    """Options with the values of environment variables where they name one, `{"secret": "env:NAME"}`.

    Such a secret stands on no command line and in no graph that a runner stages: each process reads it for itself.

    Raises:
        StorageError: if there is no such variable.
    """
    if isinstance(options, dict):
        return {name: from_environment(value) for name, value in options.items()}
    if not isinstance(options, str) or not options.startswith(ENVIRONMENT):
        return options
    name = options.removeprefix(ENVIRONMENT)
    if name not in os.environ:
        raise StorageError(f"--storage-options names the environment variable {name}, which is not set here")
    return os.environ[name]


def canonical(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """The one absolute URI of a path, see `Location.uri`."""
    if isinstance(fs, WebFileSystem):
        return locate(path).uri
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if isinstance(fs, LocalFileSystem):
        protocol = "file"
    # Of a path on a host fsspec keeps the host apart.
    host = fs.storage_options.get("host") if path.startswith("/") else None
    if host:
        user, port = (
            fs.storage_options.get("username") or fs.storage_options.get("user"),
            fs.storage_options.get("port"),
        )
        path = f"{f'{user}@' if user else ''}{host}{f':{port}' if port else ''}{path}"
    return Location(protocol, path).uri


def read_uri(uri: str, options: dict[str, Any], allow_private: bool = False, max_bytes: int | None = None) -> bytes:
    """The whole file behind a URI.

    Args:
        uri: a local path, or `protocol://path`.
        options: passed to fsspec for remote protocols.
        allow_private: whether http(s) may ask private, loopback and link-local addresses, see `beamscribe.storage.web`.
        max_bytes: that it may have; None: any number, and of local files also what is not a regular file, such as a
            pipe that was named on the command line.

    Raises:
        FileTooLargeError: if it has more bytes; no more of them are read.
        OSError: if it cannot be read, whatever the storage's client calls its error.
    """
    return read_path(*filesystem(uri, options, allow_private), max_bytes, regular=max_bytes is not None)


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
    return read_path_range(*filesystem(uri, options, allow_private), start, start + size)


def open_uri(uri: str, options: dict[str, Any], allow_private: bool = False) -> IO[bytes]:
    """A file to seek in; what goes wrong while it is read is an error of the storage's client.

    Raises:
        OSError: if it cannot be opened.
    """
    fs, path = filesystem(uri, options, allow_private)
    if isinstance(fs, LocalFileSystem):
        return open_regular(path)
    with only_os_errors():
        return fs.open(path, "rb")  # pyright: ignore[reportReturnType]


def absolute(uri: str, options: dict[str, Any]) -> str:
    """The URI of a path or URI, the same wherever it is named from."""
    return canonical(*filesystem(uri, options))


def open_regular(path: str) -> IO[bytes]:
    """A local file; never a pipe, a device or a socket, which may have no end and no bytes.

    Raises:
        OSError: if there is none.
    """
    # Opening a pipe would wait for its other end; of a regular file the flag means nothing.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(opened).st_mode
    if stat.S_ISREG(mode):
        return open(opened, "rb")
    os.close(opened)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)


@retried
def read_path(fs: fsspec.AbstractFileSystem, path: str, max_bytes: int | None = None, regular: bool = True) -> bytes:
    """The whole file at a path of a filesystem, as `read_uri`; only a regular one unless other local files may be."""
    if isinstance(fs, LocalFileSystem):
        with open_regular(path) if regular else open(path, "rb") as file:
            data = file.read() if max_bytes is None else _up_to(file, max_bytes + 1)
    else:
        with only_os_errors():
            data = _cat(fs, path, max_bytes)
    if max_bytes is not None and len(data) > max_bytes:
        raise FileTooLargeError(f"it has more than {max_bytes} bytes; --max-bytes sets the limit")
    return data


def _up_to(file: IO[bytes], most: int) -> bytes:
    """The bytes of a local file, as many as are wanted at most.

    A buffer is made for as many as the file has: one for as many as it may have takes longer to make than to fill.
    """
    expected = min(os.fstat(file.fileno()).st_size + 1, most)
    data = file.read(expected)
    return data if len(data) < expected else data + file.read(most - expected)


def _cat(fs: fsspec.AbstractFileSystem, path: str, max_bytes: int | None) -> bytes:
    """A remote file, of a bounded number one byte more at most."""
    if max_bytes is None:
        return _ask(fs, "cat_file", path)
    if isinstance(fs, WebFileSystem):
        return _ask(fs, "cat_file", path, max_bytes=max_bytes + 1)
    try:
        objects = s3_objects(fs, path.partition("/")[0])
        # Without a coroutine, whose way to the loop of fsspec and back takes twice as long as the rest.
        whole = objects.read(path.partition("/")[2], min(max_bytes, FIRST_BYTES)) if objects else None
    except LargeObjectError as error:
        return _cat_large(fs, path, max_bytes, error.size)
    if whole is not None:
        return whole
    first = min(FIRST_BYTES, max_bytes + 1)
    try:
        # One answer is enough for nearly all files, where asking for the size first would make it two.
        data = _ask(fs, "cat_file", path, start=0, end=first)
    except Exception as error:
        # Stores refuse a range of nothing.
        if "range" in str(error).lower() and not _ask(fs, "info", path)["size"]:
            return b""
        raise
    if len(data) < first or first > max_bytes:
        return data
    del data
    return _cat_large(fs, path, max_bytes, _ask(fs, "info", path)["size"])


def _cat_large(fs: fsspec.AbstractFileSystem, path: str, max_bytes: int, size: int | None) -> bytes:
    """A remote file of which more than `FIRST_BYTES` are read."""
    if size is not None and size > max_bytes:
        raise FileTooLargeError(f"it has {size} bytes, more than {max_bytes}; --max-bytes sets the limit")
    # As a whole, since another file may be there by now, which may be larger too.
    with _LARGE:
        return _ask(fs, "cat_file", path, start=0, end=max_bytes + 1)


def _ask(fs: fsspec.AbstractFileSystem, method: str, path: str, **options: Any) -> Any:
    """What a method of a remote filesystem gives, if it does so in time.

    A coroutine is waited for as it is: a thread for each call costs a third of all that reading costs of the processor.

    Raises:
        TimeoutError: if it takes longer.
    """
    if not fs.async_impl:
        return within(TIMEOUT_SECONDS, lambda: getattr(fs, method)(path, **options))
    future = asyncio.run_coroutine_threadsafe(getattr(fs, f"_{method}")(path, **options), fs.loop)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return future.result(TIMEOUT_SECONDS)
    except TimeoutError:
        if future.done():
            raise
        future.cancel()
        raise TimeoutError(f"no answer within {TIMEOUT_SECONDS:.0f} s") from None


@retried
def read_path_range(fs: fsspec.AbstractFileSystem, path: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a file at a path of a filesystem; as `read_range` otherwise."""
    with only_os_errors():
        if isinstance(fs, LocalFileSystem):
            with open_regular(path) as file:
                file.seek(start)
                return file.read(end - start)
        data: bytes = _ask(fs, "cat_file", path, start=start, end=end)
        return data


@contextlib.contextmanager
def only_os_errors() -> Iterator[None]:
    """Clients raise errors of their own (aiohttp, botocore, google-auth), which share no base but `Exception`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageError(f"{type(error).__name__}: {error}", is_transient(error)) from error
