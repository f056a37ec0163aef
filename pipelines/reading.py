"""Reads and decodes images ahead of the model, in threads."""

import collections
import datetime
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from model.backbone.spec import BackboneSpec
from model.images import DecodedImage, ImageError, decode_image
from model.storage import read_uri
from pipelines.shards import Todo
from schemas.failure_row import FailureRow

THREADS = 4
"""Pillow and the network let go of the interpreter lock; two cores decode faster than the CNN takes images."""

READ, DECODE = "read", "decode"


class LoadedImage(NamedTuple):
    """A decoded image with the digest of its file.

    Attributes:
        todo: what was asked.
        sha256: of the file's bytes, lower-case hexadecimal.
        image: pixels of the backbone's input size.
    """

    todo: Todo
    sha256: str
    image: DecodedImage


def failure(todo: Todo, stage: str, error_type: str, message: str, run_started: datetime.datetime) -> FailureRow:
    """A failure row; one attempt more than before."""
    reference = todo.reference
    return FailureRow(reference.uri, reference.id, stage, error_type, message, todo.attempts + 1, run_started)


def load_image(
    todo: Todo, spec: BackboneSpec, storage_options: dict[str, Any], run_started: datetime.datetime
) -> LoadedImage | FailureRow:
    """Reads and decodes one image; what is wrong with it becomes a failure row."""
    try:
        data = read_uri(todo.reference.uri, storage_options)
    except (OSError, ValueError) as error:
        return failure(todo, READ, type(error).__name__, str(error), run_started)
    try:
        image = decode_image(data, spec.input_size, spec.resample)
    except ImageError as error:
        return failure(todo, DECODE, error.error_type, str(error), run_started)
    return LoadedImage(todo, hashlib.sha256(data).hexdigest(), image)


def load_images(
    todo: Sequence[Todo],
    spec: BackboneSpec,
    storage_options: dict[str, Any],
    run_started: datetime.datetime,
    ahead: int,
) -> Iterator[LoadedImage | FailureRow]:
    """Images in order, up to `ahead` of them decoded before they are asked for."""
    waiting: collections.deque[Future[LoadedImage | FailureRow]] = collections.deque()
    remaining = iter(todo)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="read") as pool:
        try:
            while True:
                for item in itertools.islice(remaining, ahead - len(waiting)):
                    waiting.append(pool.submit(load_image, item, spec, storage_options, run_started))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(
    loaded: Iterator[LoadedImage | FailureRow], batch_size: int
) -> Iterator[tuple[list[LoadedImage], list[FailureRow]]]:
    """Batches of `batch_size` images, the last one shorter, with the failures met on the way."""
    images: list[LoadedImage] = []
    failures: list[FailureRow] = []
    for item in loaded:
        if isinstance(item, FailureRow):
            failures.append(item)
            continue
        images.append(item)
        if len(images) == batch_size:
            yield images, failures
            images, failures = [], []
    if images or failures:
        yield images, failures
