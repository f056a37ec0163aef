"""What the model wrote, and of which image, as rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.commits.commit import Run
from pipelines.commits.shards import Todo
from pipelines.images.inference import INFER
from pipelines.images.quality import flags_of
from pipelines.images.reading import LoadedImage, failure
from schemas.caption_row import Alternative, CaptionRow
from schemas.failure_row import FailureRow
from schemas.feature_example import DTYPE, FeatureExample

Captions = tuple[Alternative, ...]
"""Of one image, best first."""


class ImageFacts(NamedTuple):
    """What a row says of an image beside its caption; the fields are those of `CaptionRow`."""

    image_uri: str
    id: str
    sha256: str
    width: int
    height: int
    repairs: tuple[str, ...]


def facts_of(item: LoadedImage | FeatureExample) -> ImageFacts:
    """The facts of an image that was decoded just now, or of one whose features were stored."""
    if isinstance(item, FeatureExample):
        return ImageFacts(item.uri, item.id, item.sha256, item.width, item.height, item.repairs)
    reference, image = item.todo.reference, item.image
    return ImageFacts(reference.uri, reference.id, item.sha256, image.width, image.height, image.repairs)


def grid_of(example: FeatureExample) -> np.ndarray:
    """Stored features, float16 (rows, columns, channels)."""
    return np.frombuffer(example.features, DTYPE).reshape(example.shape)


def caption_rows(
    items: Sequence[tuple[Todo, ImageFacts]], captions: Iterable[Captions | Exception], run: Run
) -> Iterator[CaptionRow | FailureRow]:
    """Rows of one batch; each image's captions come best first, and the best is chosen."""
    for (todo, facts), alternatives in zip(items, captions, strict=True):
        if isinstance(alternatives, Exception):
            yield failure(todo, INFER, type(alternatives).__name__, str(alternatives), run.started)
            continue
        yield CaptionRow(
            **facts._asdict(),
            caption=alternatives[0].caption,
            flags=flags_of(alternatives[0].caption),
            score=alternatives[0].score,
            alternatives=alternatives,
            fingerprint=run.fingerprint,
            run_started=run.started,
        )
