"""Writes a file beside each photograph, or in a folder of their own, or a copy of it that holds its caption."""

import os
import stat
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from beamscribe.pipelines.outputs.alt_text import HEAD, OLDER_HEAD, TAIL, packet
from beamscribe.pipelines.outputs.embedding import UnfitError, embedded
from beamscribe.pipelines.outputs.sidecar_places import (
    GONE,
    IN_A_FILE_OF_MANY,
    Captioned,
    Places,
    places_below,
    places_beside,
    places_of_copies,
)
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import FileTooLargeError, read_uri


class Written(NamedTuple):
    """What became of the files.

    Attributes:
        files: written, or there already with the same content.
        kept: that say something else and were left as they are.
        skipped: photographs without a file beside them, by reason.
    """

    files: int
    kept: int
    skipped: Counter[str]


def content(caption: str, kind: str) -> bytes:
    """The bytes of a file of one of the kinds `beamscribe.pipelines.runtime.flags.export.SIDECARS`."""
    if kind == "xmp":
        return packet(caption).encode()
    return f"{caption}\n".encode()


def write_below(rows: Iterable[Captioned], kind: str, folder: str, replace: bool, options: dict[str, Any]) -> Written:
    """Writes the files into a folder of their own, laid out as the photographs are below the folder that they share.

    Args:
        rows: of captions.
        kind: of `beamscribe.pipelines.runtime.flags.export.SIDECARS`.
        folder: path or URI; nothing is written outside it, whatever the photographs are called.
        replace: whether a file that says something else is written over.
        options: for storage.

    Raises:
        RefusedError: if not all names can be written; nothing is.
        OSError: if one cannot be written.
    """
    return _write(places_below(rows, kind, folder, options), kind, replace)


def write_copies(rows: Iterable[Captioned], folder: str, replace: bool, options: dict[str, Any]) -> Written:
    """Writes copies of the photographs that hold their captions, laid out as the photographs are.

    Args:
        rows: of captions.
        folder: path or URI; nothing is written outside it.
        replace: whether a file that is another one is written over.
        options: for storage.

    Raises:
        RefusedError: if not all names can be written; nothing is.
        OSError: if one cannot be written.
    """
    storage, names, photographs, skipped = places_of_copies(rows, folder, options)
    files = kept = 0
    for name, row in zip(names, photographs, strict=True):
        data = _copy(row, options)
        if isinstance(data, str):
            skipped[data] += 1
            continue
        found = _there(storage, name, len(data))
        if found is None or (replace and found is not NOT_OURS):
            storage.write(name, data)
        files, kept = (files, kept + 1) if found not in (None, data) and not replace else (files + 1, kept)
    return Written(files, kept, skipped)


def _copy(row: Captioned, options: dict[str, Any]) -> bytes | str:
    """A photograph's file with its caption; a text says why there is none."""
    if "::" in row.uri:
        return IN_A_FILE_OF_MANY
    try:
        return embedded(read_uri(row.uri, options, max_bytes=MAX_PHOTOGRAPH), row.caption)
    except UnfitError as error:
        return str(error)
    except (OSError, FileTooLargeError):
        return GONE


def write_beside(rows: Iterable[Captioned], kind: str, root: str, replace: bool, options: dict[str, Any]) -> Written:
    """Writes the files beside the photographs below a folder; other photographs get none.

    Args:
        rows: of captions.
        kind: of `beamscribe.pipelines.runtime.flags.export.SIDECARS`.
        root: path or URI of the folder.
        replace: whether a file that says something else is written over.
        options: for storage.

    Raises:
        RefusedError: if there is none of the photographs below the folder, or not all names can be written.
        OSError: if one cannot be written.
    """
    return _write(places_beside(rows, kind, root, options), kind, replace)


def _write(places: Places, kind: str, replace: bool) -> Written:
    files = kept = 0
    storage, skipped = places.storage, places.skipped
    for name, row in zip(places.names, places.photographs, strict=True):
        data = content(row.caption, kind)
        found = _there(storage, name)
        if found == data:
            files += 1
        elif found is None or (replace and found is not NOT_OURS and _replaceable(found, kind)):
            storage.write(name, data)
            files += 1
        else:
            kept += 1
    return Written(files, kept, skipped)


NOT_OURS = b"\0"
"""Stands for a link, a folder or another thing that is no regular file, or one larger than any caption."""

MAX_BYTES = 2**20
MAX_PHOTOGRAPH = 2**28


def _there(storage: Storage, name: str, most: int = MAX_BYTES) -> bytes | None:
    """What is there already; None: nothing."""
    if not storage.local:
        return storage.read(name) if storage.exists(name) else None
    try:
        found = os.lstat(storage.path(name))
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size > max(most, MAX_BYTES):
        return NOT_OURS
    return storage.read(name)


def _replaceable(found: bytes, kind: str) -> bool:
    """Whether a file may be one of ours: text is text, but XMP of a photograph manager holds more than a caption."""
    if kind != "xmp":
        return True
    return found.endswith(TAIL.encode()) and found.startswith((HEAD.encode(), OLDER_HEAD.encode()))
