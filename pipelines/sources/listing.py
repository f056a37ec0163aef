"""Lists what folders, globs, files and archives name, before anything is read."""

import glob
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.model.image_formats import begins_like_an_image
from beamscribe.pipelines.sources.archives import kind_of, list_archive, split_chained
from beamscribe.pipelines.sources.beside import packed_suffixes
from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Corpus, Skipped, distinct
from beamscribe.pipelines.sources.found_files import FOLDERS_AT_ONCE, find_files
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.versions import size_and_version
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import INFLATED_TAR, TAR, UNREADABLE, ZIP, Member, WorkItem
from beamscribe.schemas.coco import CocoImage
from beamscribe.schemas.counted import counted
from beamscribe.storage.location import locate
from beamscribe.storage.prefetch import prefetch
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import canonical, filesystem, read_range

HEAD_BYTES = 1024
"""First bytes of a file, which tell what it is."""

ARCHIVES_AT_ONCE = 8
"""That are listed side by side where they are remote: each holds some pieces in memory, and its members."""


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
        list_members: whether archives are listed that a worker can go through; else such a one is a container of the
            corpus. One that is named twice is listed in any case.
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


def _is_gone_through(uri: str, beside: Collection[str]) -> bool:
    """Whether an archive is left to a worker: of local ones the launcher reads headers or directory without delay.

    What stands beside an image may be anywhere in a zip, so that only a list of the whole tells it.
    """
    place, kind = locate(uri), kind_of(uri)
    remote_kinds = (TAR,) if beside else (TAR, ZIP)
    return not place.web and (kind == INFLATED_TAR or not place.local and kind in remote_kinds)


def _images(
    source: str, options: dict[str, Any], allow_private: bool, list_members: bool, beside: Collection[str]
) -> Iterator[WorkItem | Skipped | Container]:
    """What one source names, which is not nothing."""
    inside, source = split_chained(source)
    files, left_out, versions = find_files(source, "--images", options, allow_private)
    yield from left_out
    skipped = Counter(dict(left_out))
    empty = True
    if is_plain(source) and len(files) == 1:
        _refuse_no_image(source, files[0], options, allow_private)

    def named(uri: str) -> Iterable[WorkItem | Skipped | Container]:
        kind = kind_of(uri)
        if kind and not list_members and _is_gone_through(uri, beside):
            return [_container(uri, kind, inside, options, len(files), beside, versions.get(uri))]
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
    uri: str,
    kind: str,
    inside: str,
    options: dict[str, Any],
    files: int,
    beside: Collection[str],
    listed: tuple[int, str] | None,
) -> WorkItem | Container:
    try:
        size, version = listed or size_and_version(Where.of(uri, options, False))
        return Container(uri, kind, size, version, inside, beside=packed_suffixes(beside))
    except OSError as error:
        return _not_listed(uri, error, files)


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
