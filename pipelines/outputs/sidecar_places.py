"""Where the file of each photograph goes: all names are decided, and looked at, before the first is written."""

import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import absolute

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


class Places(NamedTuple):
    """Where the files of photographs go: all names, before the first is written."""

    storage: Storage
    names: list[str]
    photographs: list[Captioned]
    skipped: Counter[str]


def places_below(rows: Iterable[Captioned], kind: str, folder: str, options: dict[str, Any]) -> Places:
    """Where files go in a folder of their own, laid out as the photographs are below the folder that they share.

    Raises:
        RefusedError: if not all names can be written.
    """
    photographs = _distinct(rows)
    names = sidecar_names(photographs, _laid_out(photographs), kind)
    return Places(_writable(folder, names, options), names, photographs, Counter())


def places_of_copies(rows: Iterable[Captioned], folder: str, options: dict[str, Any]) -> Places:
    """Where copies of the photographs go in a folder, laid out as the photographs are.

    Raises:
        RefusedError: if not all names can be written, or two would be the same.
    """
    photographs = _distinct(rows)
    names = _laid_out(photographs)
    known: dict[str, str] = {}
    for name, photograph in zip(names, photographs, strict=True):
        if (other := known.setdefault(_key(name), photograph.uri)) != photograph.uri:
            raise RefusedError(
                f"{name} would be the copy of two photographs, {other} and {photograph.uri}: rename one of them, or "
                "export to csv"
            )
    return Places(_writable(folder, names, options), names, photographs, Counter())


def _laid_out(photographs: Sequence[Captioned]) -> list[str]:
    """Paths of photographs below the folder that they share."""
    paths = [_safe_parts(row.uri) for row in photographs]
    shared = len(os.path.commonprefix([path[:-1] for path in paths]))
    return ["/".join(path[shared:]) for path in paths]


def _writable(folder: str, names: Iterable[str], options: dict[str, Any]) -> Storage:
    storage = Storage(folder, options)
    if storage.local:
        _refuse_unwritable(storage.path(""), names)
    return storage


def places_beside(rows: Iterable[Captioned], kind: str, root: str, options: dict[str, Any]) -> Places:
    """Where files go beside the photographs below a folder; other photographs get none.

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
