"""References: what a corpus names, listed before anything is read."""

import glob
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

from model.storage import StorageError, canonical, filesystem, read_uri
from schemas.coco import CocoCaption, CocoImage
from schemas.command import RefusedError

IMAGE_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a directory that count as images, in any case; a glob or a manifest may name any file."""


class Reference(NamedTuple):
    """One image that the corpus names.

    Attributes:
        id: COCO image id, else the manifest's id, else the canonical absolute URI.
        uri: where the image is.
        file_name: as in the annotations, if there are any.
        captions: what is already said of it.
        text: what is to be spoken.
        container: the file that holds the item, where many share one; such items are read in order.
        group: references of one group share a shard; empty: each stands for itself.
    """

    id: str
    uri: str
    file_name: str = ""
    captions: tuple[CocoCaption, ...] = ()
    text: str = ""
    container: str = ""
    group: str = ""


class Corpus(NamedTuple):
    """A listing: distinct references, and what was not taken.

    Attributes:
        references: distinct by id, in the order found.
        repeated: references beyond the first of their id.
        skipped: files of a directory that are no images by their suffix.
    """

    references: tuple[Reference, ...]
    repeated: int = 0
    skipped: int = 0


def distinct(references: Iterable[Reference], limit: int | None = None, skipped: int = 0) -> Corpus:
    """Keeps the first reference of each id, `limit` of them at most."""
    kept: dict[str, Reference] = {}
    repeated = 0
    for reference in references:
        if reference.id in kept:
            repeated += 1
        elif limit is None or len(kept) < limit:
            kept[reference.id] = reference
    return Corpus(tuple(kept.values()), repeated, skipped)


def list_images(sources: Iterable[str], options: dict[str, Any], limit: int | None = None) -> Corpus:
    """Lists directories (recursively, image suffixes only), globs and single files.

    Raises:
        RefusedError: if a source does not exist or names no image.
    """
    references: list[Reference] = []
    skipped = 0
    for source in sources:
        uris, left_out = _list_source(source, options)
        if not uris:
            found = f"; {left_out} files there have no image suffix ({', '.join(IMAGE_SUFFIXES)})" if left_out else ""
            raise RefusedError(f"--images {source} names no image{found}: name a folder or a glob that holds images")
        references += [Reference(id=uri, uri=uri) for uri in uris]
        skipped += left_out
    return distinct(references, limit, skipped)


def _list_source(source: str, options: dict[str, Any]) -> tuple[list[str], int]:
    """The image URIs of one source, sorted, and how many files were left out."""
    try:
        fs, path = filesystem(source, options)
        # A folder may be called "photos [2020]", so what is there is no glob.
        if glob.has_magic(source) and not fs.exists(path):
            found = fs.glob(path, detail=True)
            return sorted(canonical(fs, name) for name, item in found.items() if item["type"] == "file"), 0
        if not fs.exists(path):
            raise RefusedError(f"--images {source} does not exist: check the path")
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
        raise RefusedError(f"--images {source} cannot be listed: {error}") from error
    images = sorted(canonical(fs, file) for file in files if file.lower().endswith(IMAGE_SUFFIXES))
    return images, len(files) - len(images)


def _raise(error: OSError) -> None:
    raise error


def read_manifest(uri: str, options: dict[str, Any], limit: int | None = None) -> Corpus:
    """Reads a text manifest: one URI a line, blank lines ignored; relative paths start at the manifest's folder.

    Raises:
        RefusedError: if it cannot be read, is no text or is empty.
    """
    try:
        lines = read_uri(uri, options).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise RefusedError(f"--manifest {uri} is not UTF-8 text: write one URI a line") from error
    except OSError as error:
        raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error
    named = [line.strip() for line in lines if line.strip()]
    if not named:
        raise RefusedError(f"--manifest {uri} is empty: write one URI a line")
    fs, path = filesystem(uri, options)
    folder = canonical(fs, path).rsplit("/", 1)[0]
    try:
        uris = [_absolute(name, folder, options) for name in named]
    except StorageError as error:
        raise RefusedError(f"--manifest {uri}: {error}") from error
    return distinct((Reference(id=item, uri=item) for item in uris), limit)


def _absolute(name: str, folder: str, options: dict[str, Any]) -> str:
    absolute = name if "://" in name or name.startswith(("/", "~")) else f"{folder}/{name}"
    return canonical(*filesystem(absolute, options))


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
