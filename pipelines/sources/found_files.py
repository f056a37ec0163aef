"""Files that a folder, a glob or a path names, on any storage, and what is left out by reason."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.archives import kind_of
from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Skipped
from beamscribe.pipelines.sources.versions import listed_version
from beamscribe.pipelines.sources.walking import FOLDER, left_out_by_name, match, walk
from beamscribe.storage.prefetch import prefetch
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import canonical, filesystem
from beamscribe.storage.web import WebFileSystem

FOLDERS_AT_ONCE = 16
"""Remote folders below one that are listed side by side."""

ARCHIVE = "archive in a folder"
SAME_URI = "name that is not UTF-8, as another file is called"
"""Reasons for which files are left out, beside those of `walking`."""


class Found(NamedTuple):
    """What a path names.

    Attributes:
        files: their URIs, sorted.
        skipped: what was left out, by reason.
        versions: bytes and version of those files of which the listing tells both, by URI.
    """

    files: list[str]
    skipped: tuple[Skipped, ...] = ()
    versions: Mapping[str, tuple[int, str]] = {}


def find_files(source: str, flag: str, options: dict[str, Any], allow_private: bool = False) -> Found:
    """The files that a source names; of a folder, those that are images.

    Raises:
        RefusedError: if it does not exist or cannot be listed.
    """
    try:
        fs, path = filesystem(source, options, allow_private)
        local = isinstance(fs, LocalFileSystem)
        # A folder may be called "photos [2020]", so what is there is no glob.
        if glob.has_magic(source) and not fs.exists(path):
            return _counted(fs, match(path)) if local else _remote_match(fs, path)
        if not fs.exists(path):
            raise RefusedError(f"{flag} {source} does not exist: check the path")
        if fs.isfile(path):
            return Found([canonical(fs, path)])
        if local and not os.path.isdir(path):
            raise RefusedError(f"{flag} {source} is neither a file nor a folder: name one")
        root = path.rstrip("/")
        found = walk(path) if local else _remote_walk(fs, path)
        return _counted(fs, (one if isinstance(one, Skipped) else _image_of(root, one) for one in found))
    except StorageError as error:
        raise RefusedError(str(error)) from error
    except (OSError, ValueError) as error:
        raise RefusedError(f"{flag} {source} cannot be listed: {error}") from error


def _remote_walk(fs: AbstractFileSystem, root: str) -> Iterator[str]:
    """The paths of all files of a remote folder, at any depth; what is in the folders below it is asked for at once."""
    if not fs.async_impl or isinstance(fs, WebFileSystem):
        yield from fs.find(root)
        return
    folders = []
    for item in fs.ls(root, detail=True):
        if item["name"].strip("/") == root.strip("/"):
            continue  # Some programs put an empty object into the place of a folder.
        if item["type"] == "directory":
            folders.append(item["name"])
        else:
            yield item["name"]
    for found in prefetch(fs.find, folders, FOLDERS_AT_ONCE, 2 * FOLDERS_AT_ONCE):
        yield from found


def _image_of(root: str, path: str) -> str | Skipped:
    """A file of a folder, if it is an image and none that some system keeps beside images."""
    if not path.lower().endswith(IMAGE_SUFFIXES):
        return Skipped(ARCHIVE if kind_of(path) else NO_IMAGE_SUFFIX)
    reason = left_out_by_name(path[len(root) :].lstrip("/"))
    return Skipped(reason) if reason else path


def _remote_match(fs: AbstractFileSystem, pattern: str) -> Found:
    """As `walking.match`, where there are no links."""
    literal = next(place for place, letter in enumerate(pattern) if glob.has_magic(letter))
    root = pattern[:literal].rpartition("/")[0]
    # A listing may have left behind what was there then.
    fs.invalidate_cache()
    items: Any = fs.glob(pattern, detail=True)
    versions = {}

    def found() -> Iterator[str | Skipped]:
        for path, item in items.items():
            reason = None if "/." in pattern else left_out_by_name(path[len(root) :].lstrip("/"))
            if item["type"] == "directory":
                if "**" not in pattern:
                    yield Skipped(FOLDER)
            elif reason:
                yield Skipped(reason)
            else:
                told = listed_version(item)
                if told:
                    versions[canonical(fs, path)] = told
                yield path

    return _counted(fs, found())._replace(versions=versions)


def _counted(fs: AbstractFileSystem, found: Iterable[str | Skipped]) -> Found:
    """URIs of files, each once, and what was left out by reason."""
    skipped: Counter[str] = Counter()

    def uris() -> Iterator[str]:
        for one in found:
            if isinstance(one, Skipped):
                skipped[one.reason] += one.count
            else:
                yield canonical(fs, one)

    files = sorted(uris())
    once = list(dict.fromkeys(files))
    if len(once) < len(files):
        # A name that is not UTF-8 is written with escapes, and another file may be called so.
        skipped[SAME_URI] += len(files) - len(once)
    return Found(once, tuple(Skipped(*one) for one in sorted(skipped.items())))
