"""The version of a file: what its storage tells that changes when another file is put into its place."""

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from beamscribe.pipelines.sources.opened import UnreadableMemberError, Where
from beamscribe.storage.transient import TIMEOUT_SECONDS, retried, within
from beamscribe.storage.uri import filesystem, only_os_errors

TAGS = ("generation", "ETag", "etag", "md5Hash", "content_md5", "checksum")
TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""What filesystems of fsspec call it; a tag, where there is one, is worth more than a time."""

VALID_SECONDS = 5.0
"""For so long what a remote store has told is believed, so that it is not asked for each image."""

MOST_KNOWN = 1000

_LOCK = threading.Lock()
_known: dict[Where, tuple[float, str]] = {}


class ReplacedError(UnreadableMemberError):
    """A container is no longer the one that was listed."""

    def __init__(self) -> None:
        super().__init__("its container was replaced after it was listed: run again with --retry-failed")


def version_of(where: Where, fresh: bool = True) -> str:
    """A digest of size and tag or time of a file.

    Args:
        where: the file.
        fresh: whether remote storage is asked in any case; else for some seconds it is believed what it has told.

    Raises:
        OSError: if the storage does not tell.
    """
    now = time.monotonic()
    with _LOCK:
        asked, version = _known.get(where, (-VALID_SECONDS, ""))
    if version and not fresh and now - asked < VALID_SECONDS:
        return version
    local, info = _info(where)
    version = fingerprint(info)
    if not local:
        with _LOCK:
            if len(_known) >= MOST_KNOWN:
                _known.clear()
            _known[where] = (now, version)
    return version


def size_and_version(where: Where) -> tuple[int, str]:
    """Bytes of a file, and its version, as storage tells them now.

    Raises:
        OSError: if it does not.
    """
    _, info = _info(where)
    return int(info.get("size") or 0), fingerprint(info)


def listed_version(info: Mapping[str, Any]) -> tuple[int, str] | None:
    """Bytes of a file and its version, of what a listing tells of it.

    Args:
        info: as fsspec gives it.

    Returns:
        None if the listing tells no tag: a time may be told less exactly there than by the storage itself.
    """
    if info.get("size") is None or not any(info.get(key) for key in TAGS):
        return None
    return int(info["size"]), fingerprint(info)


@retried
def _info(where: Where) -> tuple[bool, Mapping[str, Any]]:
    fs, path = filesystem(where.uri, where.fsspec_options, where.allow_private)
    if isinstance(fs, LocalFileSystem):
        found = os.stat(path)
        return True, {"size": found.st_size, "mtime": found.st_mtime_ns}
    # A listing may have left behind what was there then.
    fs.invalidate_cache(path)
    with only_os_errors():
        return False, within(TIMEOUT_SECONDS, lambda: fs.info(path))


def fingerprint(info: Mapping[str, Any]) -> str:
    """Twelve digits of what a storage tells of a file.

    Args:
        info: as fsspec gives it.
    """
    facts = next((str(info[key]).strip('"') for key in (*TAGS, *TIMES) if info.get(key)), "")
    return hashlib.blake2b(f"{info.get('size')}\0{facts}".encode(), digest_size=6).hexdigest()


def check_version(where: Where, expected: str, fresh: bool = False) -> None:
    """Makes sure that a file is the one that was listed.

    Args:
        where: the file.
        expected: its version then; empty: nothing is checked.
        fresh: as `version_of` takes it.

    Raises:
        ReplacedError: if it is another.
        OSError: if the storage does not tell.
    """
    if expected and version_of(where, fresh) != expected:
        raise ReplacedError
