"""Lists what folders, globs, files and archives name, before anything is read."""

import glob
import os
from collections.abc import Iterable, Iterator
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from model.transient import StorageError
from model.uri import canonical, filesystem
from pipelines.corpora.archives import kind_of, list_archive, split_chained
from pipelines.corpora.corpus import IMAGE_SUFFIXES, Corpus, distinct
from pipelines.corpora.reference import Reference
from schemas.coco import CocoImage
from schemas.command import RefusedError


def list_images(
    sources: Iterable[str], options: dict[str, Any], limit: int | None = None, allow_private: bool = False
) -> Corpus:
    """Lists directories (recursively, image suffixes only), globs and single files; archives by what is in them.

    Raises:
        RefusedError: if a source does not exist or names no image.
    """
    skipped = 0

    def found() -> Iterator[Reference]:
        nonlocal skipped
        for source in sources:
            inside, source = split_chained(source)
            uris, left_out = find_files(source, "--images", options)
            empty = True
            for uri in uris:
                references, others = [Reference(uri, uri)], 0
                if kind := kind_of(uri):
                    references, others = _members(uri, kind, inside, options, allow_private)
                yield from references
                empty = empty and not references
                left_out += others
            if empty:
                suffixes = (
                    f"; {left_out} files there have no image suffix ({', '.join(IMAGE_SUFFIXES)})" if left_out else ""
                )
                raise RefusedError(
                    f"--images {source} names no image{suffixes}: name a folder, a glob or an archive that holds images"
                )
            skipped += left_out

    return distinct(found(), limit)._replace(skipped=skipped)


def _members(
    uri: str, kind: str, inside: str, options: dict[str, Any], allow_private: bool
) -> tuple[list[Reference], int]:
    try:
        return list_archive(uri, kind, inside, options, allow_private)
    except OSError as error:
        raise RefusedError(f"--images {uri} cannot be read: {error}") from error


def find_files(source: str, flag: str, options: dict[str, Any]) -> tuple[list[str], int]:
    """The files that a source names, and how many of a folder were left out because they are no images.

    Raises:
        RefusedError: if it does not exist or cannot be listed.
    """
    try:
        fs, path = filesystem(source, options)
        # A folder may be called "photos [2020]", so what is there is no glob.
        if glob.has_magic(source) and not fs.exists(path):
            found = fs.glob(path, detail=True)
            return sorted(canonical(fs, name) for name, item in found.items() if item["type"] == "file"), 0
        if not fs.exists(path):
            raise RefusedError(f"{flag} {source} does not exist: check the path")
        if fs.isfile(path):
            return [canonical(fs, path)], 0
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
    return images, len(files) - len(images)


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
