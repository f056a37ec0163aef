"""Captions of an output of `beamscribe caption`, and which image that people described each of them belongs to."""

import contextlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.schemas.coco import CocoImage
from beamscribe.schemas.matching import Matcher, MatchError, never_met
from beamscribe.schemas.rows import CAPTIONS, ParquetRows
from beamscribe.storage.output_reader import MANIFEST, OutputReader, read_manifest_of
from beamscribe.storage.storage import Storage

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
        repeated: captions that say of an image at the same place what an earlier one says, under another id.
    """

    images: tuple[CocoImage, ...]
    captions: dict[str, Caption]
    without_references: int
    renamed: int
    repeated: int = 0


class Captions(NamedTuple):
    """What an output of caption holds.

    Attributes:
        rows: at least one.
        ids: where their ids came from, see `beamscribe.schemas.matching`.
    """

    rows: list[Caption]
    ids: str


def read_captions(output: str, options: dict[str, Any]) -> Captions:
    """The rows that count: those being replaced by other settings are left out.

    Raises:
        RefusedError: if the folder is no output of caption, holds no captions, or a file cannot be read.
    """
    found = _open(Storage(output, options))
    try:
        files = found.files()
    except OSError as error:
        raise RefusedError(f"cannot be listed: {error}") from error
    captions = [caption for file in files for caption in _read_file(found, file.name)]
    if not captions:
        raise RefusedError("holds no captions yet: run beamscribe caption to its end")
    return Captions(captions, found.ids)


def _open(storage: Storage) -> OutputReader[ParquetRows]:
    try:
        manifest = read_manifest_of(storage)
    except RefusedError as error:
        raise RefusedError(f"cannot be read: {error}") from error
    if manifest is None:
        hint = _output_above(storage)
        raise RefusedError(f"not an output of beamscribe caption, it has no {MANIFEST}{hint}")
    if manifest.job != "caption":
        raise RefusedError(f"an output of beamscribe {manifest.job}: give one of beamscribe caption")
    return OutputReader(storage, manifest, CAPTIONS)


def _output_above(storage: Storage) -> str:
    """What to give instead; people name the data folder where the output that it is in was meant."""
    above = storage.uri().rpartition("/")[0]
    with contextlib.suppress(OSError):
        if Storage(above, storage.options).exists(MANIFEST):
            return f": give the folder that it is in, {above}"
    return ": give a folder that beamscribe caption wrote"


def _read_file(found: OutputReader[ParquetRows], name: str) -> list[Caption]:
    try:
        return [Caption(**row) for row in found.table(name, Caption._fields).to_pylist()]
    except (OSError, ValueError) as error:
        raise RefusedError(f"{found.output.uri(name)} cannot be read: {error}: {_VERIFY}") from error


def meet(captions: Captions, images: Iterable[CocoImage], trust_ids: bool = False) -> Meeting:
    """Finds the annotated image of each caption, see `beamscribe.schemas.matching`.

    Args:
        captions: of an output.
        images: as the annotations list them, with or without references.
        trust_ids: whether ids are those of the annotations whatever the files are called.

    Raises:
        RefusedError: if two captions are of one image, one caption may be of two, or none is of an image with
            references.
    """
    images = list({image.id: image for image in images}.values())
    described = tuple(image for image in images if image.captions)
    if not described:
        raise RefusedError("the annotations hold no captions: give the captions_*.json file of COCO")
    matcher = Matcher(images, captions.ids, trust_ids)
    met: dict[str, Caption] = {}
    repeated = without_references = 0
    try:
        for caption in captions.rows:
            found = matcher.image_of(caption.id, caption.image_uri)
            if found is None or not found.captions:
                without_references += 1
            elif matcher.take(found, caption.id, caption.image_uri, caption.caption):
                repeated += 1
            else:
                met[str(found.id)] = caption
        matcher.check()
    except MatchError as error:
        raise RefusedError(str(error)) from error
    if not met:
        raise RefusedError(never_met(captions.rows[0][:2], described[0]))
    return Meeting(described, met, without_references, matcher.renamed, repeated)
