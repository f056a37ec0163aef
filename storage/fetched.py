"""Files of remote storage on this machine's disk, fetched once however many processes need them."""

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import FileTooLargeError, read_uri
from beamscribe.storage.whole_files import replacing

LARGEST_BYTES = 2**31
"""Bytes of a file at most: the largest backbone of keras.applications has 1.4 GB."""


def fetched(folder: str, digests: Mapping[str, str], options: dict[str, Any]) -> str:
    """A local folder that holds the files of a remote one; it stays for the next process and the next run.

    Args:
        folder: URI.
        digests: SHA-256 of each file by its name in the folder, lower-case hexadecimal.
        options: passed to fsspec.

    Raises:
        OSError: if a file cannot be read, or is not as its digest says.
    """
    key = hashlib.sha256("".join(f"{name}\0{digests[name]}\0" for name in sorted(digests)).encode()).hexdigest()
    local = os.path.join(_cache(), key[:32])
    with _locked(f"{local}.lock"):
        os.makedirs(local, exist_ok=True)
        for name, digest in digests.items():
            path = os.path.join(local, name)
            if _digest_of(path) == digest:
                continue
            try:
                data = read_uri(f"{folder}/{name}", options, max_bytes=LARGEST_BYTES)
            except FileTooLargeError as error:
                raise StorageError(f"{folder}/{name} has more bytes than any weights: copy it there again") from error
            if hashlib.sha256(data).hexdigest() != digest:
                raise StorageError(f"{folder}/{name} is not as its description says: copy it there again")
            # Only a whole file has the name: a process may be reading the one that is there.
            with replacing(path) as file:
                file.write(data)
    return local


def _cache() -> str:
    """This user's folder for such files.

    Raises:
        StorageError: if somebody else made it, who could put anything there.
    """
    folder = os.path.join(tempfile.gettempdir(), f"beamscribe-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise StorageError(f"others can write to {folder}: set TMPDIR to a folder of your own")
    return folder


def _digest_of(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """One process at a time; the system lets go of the lock of a process that ends."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
