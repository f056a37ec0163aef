"""Lists what folders, globs, files and archives name, before anything is read."""

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from beamscribe.errors import RefusedError
from beamscribe.model.image_formats import begins_like_an_image
from beamscribe.pipelines.sources.archives import kind_of, list_archive, split_chained
from beamscribe.pipelines.sources.beside import packed_suffixes
from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Corpus, Skipped, distinct
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.versions import size_and_version
from beamscribe.pipelines.sources.walking import FOLDER, left_out_by_name, match, walk
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import INFLATED_TAR, TAR, UNREADABLE, Member, WorkItem
from beamscribe.schemas.coco import CocoImage
from beamscribe.schemas.counted import counted
from beamscribe.storage.location import locate
from beamscribe.storage.prefetch import prefetch
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import canonical, filesystem, read_range
from beamscribe.storage.web import WebFileSystem

HEAD_BYTES = 1024
"""First bytes of a file, which tell what it is."""

ARCHIVES_AT_ONCE = 8
"""That are listed side by side where they are remote: each holds some pieces in memory, and its members."""

FOLDERS_AT_ONCE = 16
"""Remote folders below one that are listed side by side."""

ARCHIVE = "archive in a folder"
SAME_URI = "name that is not UTF-8, as another file is called"
"""Reasons for which files are left out, beside those of `walking`."""


def list_images(
    sources: Iterable[str],
    options: dict[str, Any],
    limit: int | None = None,
    allow_private: bool = False,
    list_members: bool = True,
    beside: Collection[str] = (),
) -> Corpus:
    """Lists directories (recursively, image suffixes only), globs and single files; archives by what is in them.

    Args:
        sources: what to list.
        options: passed to fsspec.
        limit: of images.
        allow_private: as in `beamscribe.storage.uri.read_uri`.
        list_members: whether archives are listed that would have to be read as a whole for that; else such a one is a
            container of the corpus. One that is named twice is listed in any case.
        beside: suffixes of members of archives that are wanted beside images.

    Raises:
        RefusedError: if a source does not exist or names no image.
    """
    sources = list(sources)
    containers: list[Container] = []

    def images() -> Iterator[WorkItem | Skipped]:
        for source in sources:
            for one in _images(source, options, allow_private, list_members, beside):
                if isinstance(one, Container):
                    containers.append(one)
                else:
                    yield one

    corpus = distinct(images(), limit)
    if len({one.uri for one in containers}) < len(containers):
        return list_images(sources, options, limit, allow_private, beside=beside)
    return corpus._replace(containers=tuple(containers))


def _is_gone_through(uri: str) -> bool:
    """Whether a list of what is in an archive costs as much as reading it: of a local tar its headers tell."""
    place = locate(uri)
    kind = kind_of(uri)
    return kind == INFLATED_TAR and not place.web or kind == TAR and not place.local and not place.web


def _images(
    source: str, options: dict[str, Any], allow_private: bool, list_members: bool, beside: Collection[str]
) -> Iterator[WorkItem | Skipped | Container]:
    """What one source names, which is not nothing."""
    inside, source = split_chained(source)
    files, left_out = find_files(source, "--images", options, allow_private)
    yield from left_out
    skipped = Counter(dict(left_out))
    empty = True
    if is_plain(source) and len(files) == 1:
        _refuse_no_image(source, files[0], options, allow_private)

    def named(uri: str) -> Iterable[WorkItem | Skipped | Container]:
        kind = kind_of(uri)
        if kind and not list_members and _is_gone_through(uri):
            return [_container(uri, kind, inside, options, len(files), beside)]
        return _members(uri, kind, inside, options, allow_private, len(files), beside) if kind else [WorkItem(uri, uri)]

    # Remote archives are listed side by side; of local ones the disk is the bound.
    archives = [uri for uri in files if kind_of(uri) and not locate(uri).local]
    at_once = ARCHIVES_AT_ONCE if list_members else FOLDERS_AT_ONCE
    ahead = prefetch(lambda uri: list(named(uri)), archives, at_once, 2 * at_once)
    side_by_side = frozenset(archives)
    for uri in files:
        for one in next(ahead) if uri in side_by_side else named(uri):
            if isinstance(one, Skipped):
                skipped[one.reason] += one.count
            else:
                empty = False
            yield one
    if empty:
        others = "".join(f"; {counted(count, 'file')} there: {reason}" for reason, count in sorted(skipped.items()))
        suffixes = f" ({', '.join(IMAGE_SUFFIXES)})" if NO_IMAGE_SUFFIX in skipped else ""
        raise RefusedError(
            f"--images {source} names no image{others}{suffixes}: name a folder, a glob or an archive that holds images"
        )


def is_plain(source: str) -> bool:
    """Whether a source is a folder or a file, and no glob and no place inside an archive."""
    return not split_chained(source)[0] and not glob.has_magic(source)


def _refuse_no_image(source: str, uri: str, options: dict[str, Any], allow_private: bool) -> None:
    """Refuses a file that was named alone and is neither an image nor an archive, such as a video.

    Raises:
        RefusedError: if it is neither.
    """
    if kind_of(uri) or uri.lower().endswith(IMAGE_SUFFIXES):
        return
    try:
        head = read_range(uri, 0, HEAD_BYTES, options, allow_private)
    except OSError as error:
        raise RefusedError(f"--images {source} cannot be read: {error}") from error
    if not begins_like_an_image(head):
        raise RefusedError(
            f"--images {source} is no image and no archive: name a folder, a glob, images, or zip and tar archives; a "
            "list of images is read with --manifest"
        )


def _members(
    uri: str,
    kind: str,
    inside: str,
    options: dict[str, Any],
    allow_private: bool,
    files: int,
    beside: Collection[str],
) -> Iterator[WorkItem | Skipped]:
    try:
        yield from list_archive(uri, kind, inside, options, allow_private, beside)
    except OSError as error:
        yield _not_listed(uri, error, files)


def _not_listed(uri: str, error: OSError, files: int) -> WorkItem:
    """An archive that cannot be read: one of many is an item that fails.

    Raises:
        RefusedError: if it is the only one.
    """
    if files == 1:
        raise RefusedError(f"--images {uri} cannot be read: {error}") from error
    return WorkItem(uri, uri, container=uri, member=Member(UNREADABLE, 0, detail=f"it cannot be listed: {error}"))


def _container(
    uri: str, kind: str, inside: str, options: dict[str, Any], files: int, beside: Collection[str]
) -> WorkItem | Container:
    try:
        size, version = size_and_version(Where.of(uri, options, False))
        return Container(uri, kind, size, version, inside, beside=packed_suffixes(beside))
    except OSError as error:
        return _not_listed(uri, error, files)


class Found(NamedTuple):
    """What a path names.

    Attributes:
        files: their URIs, sorted.
        skipped: what was left out, by reason.
    """

    files: list[str]
    skipped: tuple[Skipped, ...] = ()


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
            return _counted(fs, match(path) if local else _remote_match(fs, path))
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


def _remote_match(fs: AbstractFileSystem, pattern: str) -> Iterator[str | Skipped]:
    """As `walking.match`, where there are no links."""
    literal = next(place for place, letter in enumerate(pattern) if glob.has_magic(letter))
    root = pattern[:literal].rpartition("/")[0]
    found: Any = fs.glob(pattern, detail=True)
    for path, item in found.items():
        reason = None if "/." in pattern else left_out_by_name(path[len(root) :].lstrip("/"))
        if item["type"] == "directory":
            if "**" not in pattern:
                yield Skipped(FOLDER)
        else:
            yield Skipped(reason) if reason else path


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


def annotated_images(images: Iterable[CocoImage], root: str, options: dict[str, Any]) -> Iterator[WorkItem]:
    """Work items of COCO images whose files lie below `root`.

    Raises:
        RefusedError: if `root` is not a folder.
    """
    try:
        fs, path = filesystem(root, options)
        if not fs.isdir(path):
            raise RefusedError(f"--images {root} is not a folder: name the folder that holds the annotated images")
    except StorageError as error:
        raise RefusedError(str(error)) from error
    base = canonical(fs, path)
    base += "" if base.endswith("/") else "/"
    for image in images:
        yield WorkItem(str(image.id), base + image.file_name, image.file_name, image.captions)
