"""The photographs of a report: found again, checked, and made small enough to be part of the page."""

import base64
import hashlib
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from PIL import Image

from beamscribe.model.images import ImageError, decode_image
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.caption_row import CaptionRow
from beamscribe.schemas.limits import MAX_BYTES, MAX_PIXELS
from beamscribe.storage.location import UriError, named_uri, path_of
from beamscribe.storage.uri import absolute

LONG_SIDE = 480
"""Pixels: a card of the gallery at twice the resolution of an ordinary screen."""

QUALITIES = (80, 70, 60, 50, 40)
"""Qualities of the JPEG, of which the best that fits; below the last the picture is made smaller instead."""


class Picture(NamedTuple):
    """A small copy of a photograph.

    Attributes:
        width, height: of the copy, in pixels.
        uri: the JPEG as a data URI.
    """

    width: int
    height: int
    uri: str


class MissingPictureError(Exception):
    """The photograph cannot be shown; the message says why, for the place where it would be."""


class PictureReading(NamedTuple):
    """Where and how to find photographs.

    Attributes:
        root: folder or URI that holds them now, if they were moved.
        storage_options: passed to fsspec.
        allow_http: whether they may be read from the web.
        max_pixels: that one may declare.
        max_bytes: that one may have.
    """

    root: str | None
    storage_options: dict[str, Any]
    allow_http: bool
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES


def read_photograph(row: CaptionRow, reading: PictureReading, reference: WorkItem | None = None) -> bytes:
    """The bytes that were captioned.

    Args:
        row: the caption.
        reading: where and how to find photographs.
        reference: what the job read, if that was a member of a file of many.

    Raises:
        MissingPictureError: if they cannot be found, or another photograph is there now.
    """
    reason = ""
    named = reference or WorkItem(row.id, row.image_uri)
    if named.member is not None:
        # The digest below says whether it is the same photograph, also in a copy of the container that is newer.
        named = named._replace(member=named.member._replace(version=""))
    for uri in _places(named.container or named.uri, reading.root, reading.storage_options):
        try:
            uri = named_uri(uri, allow_http=reading.allow_http).uri if reading.root is None else uri
        except UriError as error:
            raise MissingPictureError(f"The photograph is not read: {error}.") from error
        here = named._replace(container=uri) if named.container else named._replace(uri=uri)
        try:
            data = read_reference(here, reading.storage_options, max_bytes=reading.max_bytes)
        except Exception as error:  # noqa: BLE001 - one photograph of many, whatever is wrong with it
            reason = reason or f"The photograph cannot be read ({type(error).__name__}); --images-root says where."
            continue
        if hashlib.sha256(data).hexdigest() == row.sha256:
            return data
        reason = "Another photograph is at this place now."
    raise MissingPictureError(reason)


def _places(uri: str, root: str | None, options: dict[str, Any]) -> Iterator[str]:
    """Where a photograph may be: where it was or, below a new root, under ever shorter ends of its path."""
    if root is None:
        yield uri
        return
    base = absolute(root, options).rstrip("/")
    # Nothing that a row says leads out of the root.
    parts = [part for part in path_of(uri).split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        yield "/".join([base, *parts[start:]])


def decode_for(
    row: CaptionRow, data: bytes, size: tuple[int, int], resample: str, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """A photograph as the job saw it, at another size.

    Args:
        row: what the job found.
        data: the file.
        size: (height, width) in pixels.
        resample: "bilinear" or "bicubic".
        max_pixels: that it may declare, whatever the row says of it.

    Raises:
        MissingPictureError: if it does not decode any more.
    """
    try:
        decoded = decode_image(
            data,
            size,
            resample,
            max_pixels=max_pixels,
            accept_truncated="truncated" in row.repairs,
        )
    except ImageError as error:
        raise MissingPictureError(f"The photograph does not decode here: {error}.") from error
    return Image.fromarray(decoded.pixels)


def thumbnail(row: CaptionRow, data: bytes, bytes_at_most: int, max_pixels: int = MAX_PIXELS) -> Picture:
    """A small copy of a photograph, upright.

    Raises:
        MissingPictureError: if it does not decode any more.
    """
    if min(row.width, row.height) < 1:
        raise MissingPictureError("The photograph has no size in the captions.")
    scale = min(1.0, LONG_SIDE / max(row.width, row.height))
    width, height = max(1, round(row.width * scale)), max(1, round(row.height * scale))
    image = decode_for(row, data, (height, width), "bicubic", max_pixels)
    while True:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= bytes_at_most or max(image.size) <= 32:
                return Picture(*image.size, data_uri("image/jpeg", buffer.getvalue()))
        image = image.resize((max(1, image.width * 4 // 5), max(1, image.height * 4 // 5)), Image.Resampling.BICUBIC)


def data_uri(mime_type: str, data: bytes) -> str:
    """Bytes as part of a page."""
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"
