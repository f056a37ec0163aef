"""Reads and decodes one image; what is wrong with it becomes a failure row."""

import datetime
import hashlib
import time
from typing import Any, NamedTuple

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.model.captioner_interface import Encoded, Pixels
from beamscribe.model.image_formats import suffix_of
from beamscribe.model.images import DecodedImage, ImageError, decode_image, encode_jpeg
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.schemas.caption_row import SourceFile
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.limits import MAX_BYTES, MAX_PIXELS

READ, DECODE = "read", "decode"


class Reading(NamedTuple):
    """How a job reads its images.

    Attributes:
        storage_options: passed to fsspec.
        max_pixels: images that declare more are refused.
        accept_truncated: whether what was decoded of a file that ends early is kept.
        allow_private: whether http(s) may ask addresses inside this machine's network.
        max_bytes: of an image file; larger ones are refused while they are read.
        io_threads: reads of images under way at once in a process; None: as many as suit the storage.
        keep_files: whether images that are decoded bring the bytes of their files with them.
    """

    storage_options: dict[str, Any]
    max_pixels: int = MAX_PIXELS
    accept_truncated: bool = False
    allow_private: bool = False
    max_bytes: int = MAX_BYTES
    io_threads: int | None = None
    keep_files: bool = False


class ReadFile(NamedTuple):
    """The bytes of an image, not yet decoded.

    Attributes:
        todo: what was asked.
        data: of the file.
        read_msec: time that reading took.
    """

    todo: PendingItem
    data: bytes
    read_msec: float


class LoadedImage(NamedTuple):
    """A decoded image with the digest of its file.

    Attributes:
        todo: what was asked.
        sha256: of the file's bytes, lower-case hexadecimal.
        image: pixels of the backbone's input size.
        read_msec: time that reading took.
        decode_msec: time that decoding took.
        read_bytes: of the file.
        encoded: a JPEG file of the pixels, which are then empty, where the captioner wants that.
        file: as it was read, where it is kept.
    """

    todo: PendingItem
    sha256: str
    image: DecodedImage
    read_msec: float = 0.0
    decode_msec: float = 0.0
    read_bytes: int = 0
    encoded: bytes = b""
    file: SourceFile | None = None


Wanted = BackboneSpec | Pixels | Encoded
"""What is made of an image: pixels of a size, or a JPEG file."""


def read_image(todo: PendingItem, reading: Reading, run_started: datetime.datetime) -> ReadFile | FailureRow:
    """Reads the file of one image."""
    begun = time.perf_counter()
    try:
        data = read_reference(
            todo.reference.to_read(), reading.storage_options, reading.allow_private, reading.max_bytes
        )
    except Exception as error:  # noqa: BLE001 - whatever reading one image brings about is its own failure
        return not_read(todo, error, run_started)
    return ReadFile(todo, data, (time.perf_counter() - begun) * 1000)


def not_read(todo: PendingItem, error: Exception, run_started: datetime.datetime) -> FailureRow:
    """An image whose file could not be read."""
    return failure(todo, READ, type(error).__name__, str(error), run_started)


def decode_read(
    file: ReadFile, wanted: Wanted, reading: Reading, run_started: datetime.datetime
) -> LoadedImage | FailureRow:
    """Decodes the file of one image for a backbone."""
    todo, data, read_msec = file
    begun = time.perf_counter()
    try:
        size = wanted.max_side if isinstance(wanted, Encoded) else wanted.input_size
        image = decode_image(data, size, wanted.resample, reading.max_pixels, reading.accept_truncated)
        encoded = encode_jpeg(image.pixels, wanted.quality) if isinstance(wanted, Encoded) else b""
    except Exception as error:  # noqa: BLE001 - and so is what decoding it brings about, a lack of memory too
        error_type = error.error_type if isinstance(error, ImageError) else type(error).__name__
        found = failure(todo, DECODE, error_type, str(error), run_started)
        # It is in the frames that it leads to, and so is the file: both would stay until Python looks for cycles.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return found
    digest = hashlib.sha256(data).hexdigest()
    decode_msec = (time.perf_counter() - begun) * 1000
    if encoded:
        image = image._replace(pixels=image.pixels[:0])
    kept = SourceFile(suffix_of(data), data) if reading.keep_files else None
    return LoadedImage(todo, digest, image, read_msec, decode_msec, len(data), encoded, kept)


def load_image(
    todo: PendingItem, wanted: Wanted, reading: Reading, run_started: datetime.datetime
) -> LoadedImage | FailureRow:
    """Reads and decodes one image for a backbone or another captioner."""
    file = read_image(todo, reading, run_started)
    return file if isinstance(file, FailureRow) else decode_read(file, wanted, reading, run_started)
