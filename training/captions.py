"""Captions of an output of `beamscribe caption`, and which image that people described each of them belongs to."""

import contextlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from model.storage import Storage
from schemas import caption_row, manifest
from schemas.coco import CocoImage
from schemas.command import RefusedError
from schemas.manifest import Manifest, ManifestError
from schemas.table import NewerSchemaError, check_version, schema_version

MANIFEST = f"{manifest.FOLDER}/{manifest.FILE}"

# Ids of images that nobody annotated are URIs, so no other id is a number.
_COCO_ID = re.compile(r"-?[0-9]+")
_BY_ID = "featurize the annotated images and caption --features, then they meet by id"
_VERIFY = "beamscribe verify tells what is wrong with the output"


class Caption(NamedTuple):
    """What a row says of one image."""

    id: str
    image_uri: str
    caption: str
    fingerprint: str


class Meeting(NamedTuple):
    """Captions and the annotated images they belong to.

    Attributes:
        images: those with references, in the order of the annotations.
        captions: by COCO image id; images without a caption are not in it.
        without_references: captions of images without references.
        renamed: captions that met an image by its id, though the annotations call its file otherwise.
    """

    images: tuple[CocoImage, ...]
    captions: dict[str, Caption]
    without_references: int
    renamed: int


def read_captions(output: str, options: dict[str, Any]) -> list[Caption]:
    """The rows that count: those being replaced by other settings are left out.

    Raises:
        RefusedError: if the folder is no output of caption, holds no captions, or a file cannot be read.
    """
    storage = Storage(output, options)
    kept = frozenset(_manifest(storage).kept_fingerprints)
    try:
        files = storage.files(caption_row.FOLDER, ".parquet")
    except OSError as error:
        raise RefusedError(f"cannot be listed: {error}") from error
    captions = [caption for file in files for caption in _read_file(storage, file.name) if caption.fingerprint in kept]
    if not captions:
        raise RefusedError("holds no captions yet: run beamscribe caption to its end")
    return captions


def _manifest(storage: Storage) -> Manifest:
    try:
        found = Manifest.from_json(storage.read(MANIFEST), storage.uri(MANIFEST))
    except FileNotFoundError as error:
        hint = _output_above(storage)
        raise RefusedError(f"not an output of beamscribe caption, it has no {MANIFEST}{hint}") from error
    except (OSError, ManifestError, NewerSchemaError) as error:
        raise RefusedError(f"cannot be read: {error}") from error
    if found.job != "caption":
        raise RefusedError(f"an output of beamscribe {found.job}: give one of beamscribe caption")
    return found


def _output_above(storage: Storage) -> str:
    """What to give instead; people name the data folder where the output that it is in was meant."""
    above = storage.uri().rpartition("/")[0]
    with contextlib.suppress(OSError):
        if Storage(above, storage.options).exists(MANIFEST):
            return f": give the folder that it is in, {above}"
    return ": give a folder that beamscribe caption wrote"


def _read_file(storage: Storage, name: str) -> list[Caption]:
    uri = storage.uri(name)
    try:
        file = pq.ParquetFile(io.BytesIO(storage.read(name)))
        check_version(uri, schema_version(file.schema_arrow), caption_row.VERSION)
        return [Caption(**row) for row in file.read(columns=list(Caption._fields)).to_pylist()]
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise RefusedError(f"{uri} cannot be read: {error}: {_VERIFY}") from error


def meet(captions: Sequence[Caption], images: Iterable[CocoImage]) -> Meeting:
    """Finds the annotated image of each caption.

    A caption of annotated features bears the COCO image id. Any other bears the URI of its image, whose base name is
    compared with those of the annotated files.

    Args:
        captions: at least one.
        images: as the annotations list them, with or without references.

    Raises:
        RefusedError: if two captions are of one image, one caption may be of two, or none is of an image with
            references.
    """
    by_id = {str(image.id): image for image in images}
    described = tuple(image for image in by_id.values() if image.captions)
    if not described:
        raise RefusedError("the annotations hold no captions: give the captions_*.json file of COCO")
    by_name: dict[str, list[CocoImage]] = {}
    for image in by_id.values():
        by_name.setdefault(_base_name(image.file_name), []).append(image)
    met: dict[str, Caption] = {}
    renamed = 0
    for caption in captions:
        if _COCO_ID.fullmatch(caption.id):
            found = by_id.get(caption.id)
            renamed += found is not None and _base_name(caption.image_uri) != _base_name(found.file_name)
        else:
            found = _the_only(by_name.get(_base_name(caption.image_uri), []), caption)
        if found is not None and found.captions:
            earlier = met.setdefault(str(found.id), caption)
            if earlier is not caption:
                raise _two_captions(found, earlier, caption)
    if not met:
        raise RefusedError(
            f"no caption is of an annotated image: {captions[0].image_uri} and the others are not among the "
            f"annotated {described[0].file_name} (id {described[0].id}) and the others: "
            "give the annotations of these photographs"
        )
    return Meeting(described, met, len(captions) - len(met), renamed)


def _base_name(path: str) -> str:
    """The last part of a path or URI; members of archives are called `container::member`."""
    return re.split(r"[/\\]|::", path)[-1]


def _the_only(images: Sequence[CocoImage], caption: Caption) -> CocoImage | None:
    if len(images) > 1:
        raise RefusedError(
            f"{caption.image_uri} may be {images[0].file_name} (id {images[0].id}) or {images[1].file_name} "
            f"(id {images[1].id}) of the annotations, whose base names are the same: {_BY_ID}"
        )
    return images[0] if images else None


def _two_captions(image: CocoImage, one: Caption, other: Caption) -> RefusedError:
    if one.id == other.id:
        return RefusedError(f"image {one.id} has two captions, {one.caption!r} and {other.caption!r}: {_VERIFY}")
    return RefusedError(
        f"{one.image_uri} and {other.image_uri} may both be {image.file_name} (id {image.id}) of the annotations: "
        f"caption one of the two folders, or {_BY_ID}"
    )
