"""Lists what folders, globs, files and archives name, before anything is read."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

from model.image_formats import begins_like_an_image
from model.transient import StorageError
from model.uri import canonical, filesystem, read_range
from pipelines.corpora.archives import kind_of, list_archive, split_chained
from pipelines.corpora.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Corpus, Skipped, distinct
from pipelines.corpora.reference import Reference
from schemas.coco import CocoImage
from schemas.command import RefusedError

HEAD_BYTES = 1024
"""Of a file, which tell what it is."""


def list_images(
    sources: Iterable[str], options: dict[str, Any], limit: int | None = None, allow_private: bool = False
) -> Corpus:
    """Lists directories (recursively, image suffixes only), globs and single files; archives by what is in them.

    Raises:
        RefusedError: if a source does not exist or names no image.
    """
    images = (one for source in sources for one in _images(source, options, allow_private))
    return distinct(images, limit)


def _images(source: str, options: dict[str, Any], allow_private: bool) -> Iterator[Reference | Skipped]:
    """What one source names, which is not nothing."""
    inside, source = split_chained(source)
    files, left_out = find_files(source, "--images", options, allow_private)
    yield from left_out
    skipped = Counter(dict(left_out))
    empty = True
    if is_plain(source) and len(files) == 1:
        _refuse_no_image(source, files[0], options, allow_private)
    for uri in files:
        kind = kind_of(uri)
        for one in _members(uri, kind, inside, options, allow_private) if kind else [Reference(uri, uri)]:
            if isinstance(one, Skipped):
                skipped[one.reason] += one.count
            else:
                empty = False
            yield one
    if empty:
        others = "".join(f"; {count} files there: {reason}" for reason, count in sorted(skipped.items()))
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
    uri: str, kind: str, inside: str, options: dict[str, Any], allow_private: bool
) -> Iterator[Reference | Skipped]:
    try:
        yield from list_archive(uri, kind, inside, options, allow_private)
    except OSError as error:
        raise RefusedError(f"--images {uri} cannot be read: {error}") from error


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
        # A folder may be called "photos [2020]", so what is there is no glob.
        if glob.has_magic(source) and not fs.exists(path):
            found = fs.glob(path, detail=True)
            return Found(sorted(canonical(fs, name) for name, item in found.items() if item["type"] == "file"))
        if not fs.exists(path):
            raise RefusedError(f"{flag} {source} does not exist: check the path")
        if fs.isfile(path):
            return Found([canonical(fs, path)])
        # os.walk keeps names that are not UTF-8 readable as they are on disk.
        if isinstance(fs, LocalFileSystem):
            walk = os.walk(path, onerror=_raise)
            files = [os.path.join(folder, name) for folder, _, names in walk for name in names]
        else:
            files = fs.find(path)
    except StorageError as error:
        raise RefusedError(str(error)) from error
    except OSError as error:
        raise RefusedError(f"{flag} {source} cannot be listed: {error}") from error
    images = sorted(canonical(fs, file) for file in files if file.lower().endswith(IMAGE_SUFFIXES))
    others = len(files) - len(images)
    return Found(images, (Skipped(NO_IMAGE_SUFFIX, others),) if others else ())


def _raise(error: OSError) -> None:
    raise error


def annotated_images(images: Iterable[CocoImage], root: str, options: dict[str, Any]) -> Iterator[Reference]:
    """References of COCO images whose files lie below `root`.

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
        yield Reference(str(image.id), base + image.file_name, image.file_name, image.captions)
