"""Whether annotations and a folder of photographs belong together, before anything is launched."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.walking import walk
from beamscribe.schemas.coco import CocoImage
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import filesystem, only_os_errors

SAMPLE = 32
"""Files that are looked for by name before the folder is listed, which may take long."""


def refuse_other_folder(images: Sequence[CocoImage], root: str, options: dict[str, Any]) -> None:
    """Refuses a folder that holds none of the annotated images, each of which would fail.

    Args:
        images: annotated, at least one.
        root: path or URI of the folder.
        options: for storage.

    Raises:
        RefusedError: if none is there; it names one of either.
    """
    try:
        fs, path = filesystem(root, options)
        base = path.rstrip("/")
        step = max(1, len(images) // SAMPLE)
        with only_os_errors():
            if any(fs.exists(f"{base}/{image.file_name}") for image in images[::step][:SAMPLE]):
                return
            annotated = {image.file_name.replace("\\", "/") for image in images}
            other = None
            for name in _below(fs, base):
                if name in annotated:
                    return
                other = other or name
    except StorageError as error:
        raise RefusedError(str(error)) from error
    except OSError as error:
        raise RefusedError(f"--images {root} cannot be listed: {error}") from error
    held = f"it holds {other}" if other else "it is empty"
    raise RefusedError(
        f"--images {root} holds none of the {len(images):,} annotated images, such as {images[0].file_name}; {held}: "
        "name the folder that their file names start from, or the annotations of these photographs"
    )


def _below(fs: AbstractFileSystem, base: str) -> Iterator[str]:
    """Names of files from a folder on."""
    if isinstance(fs, LocalFileSystem):
        for found in walk(base):
            if isinstance(found, str):
                yield os.path.relpath(found, base)
    else:
        for path in fs.find(base):
            yield path[len(base) :].lstrip("/")
