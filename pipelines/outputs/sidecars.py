"""A file beside each photograph, or in a folder of their own: all names are decided before the first is written."""

import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.alt_text import HEAD, OLDER_HEAD, TAIL, packet
from beamscribe.pipelines.outputs.embedding import UnfitError, embedded
from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import FileTooLargeError, absolute, read_uri

NAME_BYTES, PATH_BYTES = 255, 4000
"""That a file name and a path may have on the file systems in use."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")

IN_A_FILE_OF_MANY, ELSEWHERE, NO_IMAGE, GONE = (
    "in an archive or a table",
    "not below --beside",
    "no image by its suffix",
    "not there as a regular file",
)
"""Why a photograph gets no file beside it."""


class Captioned(NamedTuple):
    """A photograph and what is said of it."""

    id: str
    uri: str
    caption: str


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
    """Of one of `beamscribe.pipelines.runtime.flags.export.SIDECARS`."""
    if kind == "xmp":
        return packet(caption).encode()
    return f"{caption}\n".encode()


class Places(NamedTuple):
    """Where the files of photographs go: all names, before the first is written."""

    storage: Storage
    names: list[str]
    photographs: list[Captioned]
    skipped: Counter[str]


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


def places_below(rows: Iterable[Captioned], kind: str, folder: str, options: dict[str, Any]) -> Places:
    """As `write_below` names the files.

    Raises:
        RefusedError: if not all names can be written.
    """
    photographs = _distinct(rows)
    paths = [_safe_parts(row.uri) for row in photographs]
    shared = len(os.path.commonprefix([path[:-1] for path in paths]))
    places = ["/".join(path[shared:]) for path in paths]
    names = sidecar_names(photographs, places, kind)
    storage = Storage(folder, options)
    if storage.local:
        _refuse_unwritable(storage.path(""), names)
    return Places(storage, names, photographs, Counter())


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
    photographs = _distinct(rows)
    paths = [_safe_parts(row.uri) for row in photographs]
    shared = len(os.path.commonprefix([path[:-1] for path in paths]))
    names = ["/".join(path[shared:]) for path in paths]
    again = [name for name, count in Counter(map(_key, names)).items() if count > 1]
    if again:
        raise RefusedError(f"{again[0]} would be the copy of two photographs: export to csv instead")
    storage = Storage(folder, options)
    if storage.local:
        _refuse_unwritable(storage.path(""), names)
    files = kept = 0
    skipped: Counter[str] = Counter()
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


def places_beside(rows: Iterable[Captioned], kind: str, root: str, options: dict[str, Any]) -> Places:
    """As `write_beside` names the files.

    Raises:
        RefusedError: if there is none of the photographs below the folder, or not all names can be written.
    """
    storage = Storage(root, options)
    base = absolute(root, options).rstrip("/") + "/"
    skipped: Counter[str] = Counter()
    photographs, places = [], []
    for row in (rows := _distinct(rows)):
        reason = _why_not(storage, base, row)
        if reason:
            skipped[reason] += 1
        else:
            photographs.append(row)
            places.append(row.uri.removeprefix(base))
    if rows and not photographs:
        told = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items())
        raise RefusedError(
            f"--beside {root} holds none of the photographs ({told}), the first is {rows[0].uri}: name the folder that "
            "they are below, or --output for a folder of their own"
        )
    names = sidecar_names(photographs, places, kind)
    if storage.local:
        _refuse_unwritable(storage.path(""), names)
    return Places(storage, names, photographs, skipped)


def sidecar_names(rows: Sequence[Captioned], places: Sequence[str], suffix: str) -> list[str]:
    """The name of each photograph's file, no two the same, even where case makes no difference (macOS, Windows).

    `photo.txt`; `photo.jpg.txt` where two would share that; with a digest where two would share that too, or where a
    file system would not take the name.

    Args:
        rows: photographs.
        places: theirs, as paths.
        suffix: of the files.

    Raises:
        RefusedError: if two would share a name all the same.
    """
    digests = [hashlib.sha256(f"{row.uri}\n{row.id}".encode("utf-8", "surrogatepass")).hexdigest()[:16] for row in rows]
    forms = [
        (f"{os.path.splitext(place)[0]}.{suffix}", f"{place}.{suffix}", _shortened(place, f"~{digest}.{suffix}"))
        for place, digest in zip(places, digests, strict=True)
    ]
    folders = {_key(folder) for place in places for folder in _folders_of(place)}
    chosen = [0] * len(forms)
    while True:
        names = [form[at] for form, at in zip(forms, chosen, strict=True)]
        keys = [_key(name) for name in names]
        count = Counter(keys)
        taken = [
            number
            for number, (key, name) in enumerate(zip(keys, names, strict=True))
            if count[key] > 1 or key in folders or len(os.fsencode(name.rsplit("/", 1)[-1])) > NAME_BYTES
        ]
        if not taken:
            return names
        # Those with the shortest form give way: of x.jpg.txt for x.jpg, and for x.jpg.png, the latter.
        lowest = min(chosen[number] for number in taken)
        if lowest == len(forms[0]) - 1:
            one = rows[taken[0]].uri
            raise RefusedError(f"{names[taken[0]]} would be the file of {one} and of another: export to csv instead")
        for number in taken:
            chosen[number] += chosen[number] == lowest


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _folders_of(place: str) -> Iterator[str]:
    at = place.find("/")
    while at >= 0:
        yield place[:at]
        at = place.find("/", at + 1)


def _shortened(place: str, end: str) -> str:
    folder, slash, name = place.rpartition("/")
    kept = name.encode("utf-8", "surrogateescape")[: NAME_BYTES - len(end) - 3].decode("utf-8", "ignore")
    return f"{folder}{slash}{kept}{end}"


def _distinct(rows: Iterable[Captioned]) -> list[Captioned]:
    """Photographs, those of one place once if the same is said of them."""
    return list({(row.uri, row.caption): row for row in rows}.values())


def _safe_parts(uri: str) -> list[str]:
    """Folders and name of a photograph as parts of a path that stays where it begins."""
    path = uri.partition("://")[2] if "://" in uri else uri
    parts = [part for part in re.split(r"[/\\]|::", path) if part not in ("", ".")]
    return [_safe(part) for part in parts] or ["_"]


def _safe(part: str) -> str:
    if part == "..":
        return "__"
    part = _CONTROLS.sub("_", part)
    return part if len(os.fsencode(part)) <= NAME_BYTES else _shortened(part, "~")


def _why_not(storage: Storage, base: str, row: Captioned) -> str | None:
    """Why there can be no file beside a photograph; None if there can."""
    if not row.uri.startswith(base):
        return ELSEWHERE
    place = row.uri.removeprefix(base)
    if ".." in place.split("/") or "\0" in place:
        return ELSEWHERE
    if not storage.local:
        if not place.lower().endswith(IMAGE_SUFFIXES):
            return IN_A_FILE_OF_MANY if "::" in place else NO_IMAGE
        return None if storage.exists(place) else GONE
    path = storage.path(place)
    try:
        there = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return IN_A_FILE_OF_MANY if "::" in place else GONE
    if not there:
        return GONE
    if not place.lower().endswith(IMAGE_SUFFIXES):
        return NO_IMAGE
    return None if _is_below(os.path.dirname(path), storage.path("")) else ELSEWHERE


def _is_below(folder: str, root: str) -> bool:
    """Whether a folder is in another one, links followed."""
    real, base = os.path.realpath(folder), os.path.realpath(root)
    return real == base or real.startswith(base.rstrip("/") + "/")


def _refuse_unwritable(root: str, names: Iterable[str]) -> None:
    """Looks at the folders that are there before anything is written.

    Raises:
        RefusedError: if a name cannot be written, or would be written outside the folder.
    """
    seen: set[str] = set()
    for name in names:
        path = os.path.join(root, name)
        if len(os.fsencode(path)) > PATH_BYTES:
            raise RefusedError(f"{path[:200]}… is too long a path for a file: name a shorter folder")
        folder = os.path.dirname(path)
        if folder in seen:
            continue
        seen.add(folder)
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder):
            raise RefusedError(f"{folder} is a file where {path} needs a folder: name another folder")
        if os.path.lexists(root) and not _is_below(folder, root):
            raise RefusedError(f"{folder} is a link that leaves {root}: remove it, or name another folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise RefusedError(f"{folder} cannot be written: name another folder")


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
