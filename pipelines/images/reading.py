"""Reads and decodes one image; what is wrong with it becomes a failure row."""

import datetime
import hashlib
import time
from typing import Any, NamedTuple

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.model.images import DecodedImage, ImageError, decode_image
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.shards import PendingItem
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
    """

    storage_options: dict[str, Any]
    max_pixels: int = MAX_PIXELS
    accept_truncated: bool = False
    allow_private: bool = False
    max_bytes: int = MAX_BYTES
    io_threads: int | None = None


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
    """

    todo: PendingItem
    sha256: str
    image: DecodedImage
    read_msec: float = 0.0
    decode_msec: float = 0.0
    read_bytes: int = 0


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
    file: ReadFile, spec: BackboneSpec, reading: Reading, run_started: datetime.datetime
) -> LoadedImage | FailureRow:
    """Decodes the file of one image for a backbone."""
    todo, data, read_msec = file
    begun = time.perf_counter()
    try:
        image = decode_image(data, spec.input_size, spec.resample, reading.max_pixels, reading.accept_truncated)
    except ImageError as error:
        return failure(todo, DECODE, error.error_type, str(error), run_started)
    except Exception as error:  # noqa: BLE001 - and so is what decoding it brings about, a lack of memory too
        return failure(todo, DECODE, type(error).__name__, str(error), run_started)
    digest = hashlib.sha256(data).hexdigest()
    return LoadedImage(todo, digest, image, read_msec, (time.perf_counter() - begun) * 1000, len(data))


def load_image(
    todo: PendingItem, spec: BackboneSpec, reading: Reading, run_started: datetime.datetime
) -> LoadedImage | FailureRow:
    """Reads and decodes one image for a backbone."""
    file = read_image(todo, reading, run_started)
    return file if isinstance(file, FailureRow) else decode_read(file, spec, reading, run_started)
