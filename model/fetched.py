"""Files of remote storage on this machine's disk, fetched once however many processes need them."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from model.transient import StorageError
from model.uri import read_uri


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
            data = read_uri(f"{folder}/{name}", options)
            if hashlib.sha256(data).hexdigest() != digest:
                raise StorageError(f"{folder}/{name} is not as its description says: copy it there again")
            with open(path, "wb") as file:
                file.write(data)
    return local


def _cache() -> str:
    """This user's folder for such files.

    Raises:
        StorageError: if somebody else made it, who could put anything there.
    """
    folder = os.path.join(tempfile.gettempdir(), f"beamscribe-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.getuid():
        raise StorageError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
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
