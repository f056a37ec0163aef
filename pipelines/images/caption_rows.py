"""What the model wrote, and of which image, as rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from beamscribe.model.captioner_interface import CaptionError, Outcome, Written
from beamscribe.pipelines.images.inference import INFER, NO_CAPTION, NOT_FINITE
from beamscribe.pipelines.images.quality import flags_of
from beamscribe.pipelines.images.reading import LoadedImage
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import DTYPE, FeatureExample
from beamscribe.schemas.kept_columns import REPAIR, is_unread


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


INT32 = 2**31
"""Rows hold an image's sides in 32 bits, records in 64."""


def grid_of(example: FeatureExample, grid: tuple[int, int, int]) -> np.ndarray:
    """Stored features, float16 (rows, columns, channels).

    Args:
        example: a record of featurize, or of another program.
        grid: that the captioner takes.

    Raises:
        ValueError: if the record cannot become a row; the message says why.
    """
    if example.shape != grid:
        raise ValueError(f"its features are {example.shape}, the captioner takes {grid}")
    if not (0 <= example.width < INT32 and 0 <= example.height < INT32):
        raise ValueError(f"an image of {example.width}×{example.height} pixels is none")
    values = np.frombuffer(example.features, "<f2").astype(DTYPE, copy=False).reshape(grid)
    if not np.isfinite(values).all():
        raise ValueError(NOT_FINITE)
    return values


def caption_rows(
    items: Sequence[tuple[PendingItem, ImageFacts]], captions: Iterable[Outcome], run: Run
) -> Iterator[CaptionRow | FailureRow]:
    """Rows of one batch; each image's captions come best first, and the best is chosen; without one it has failed."""
    for (todo, facts), outcome in zip(items, captions, strict=True):
        if isinstance(outcome, Exception):
            error_type = outcome.error_type if isinstance(outcome, CaptionError) else type(outcome).__name__
            yield failure(todo, INFER, error_type, str(outcome), run.started)
            continue
        written = Written((Alternative(outcome, None),)) if isinstance(outcome, str) else outcome
        best = written.alternatives[0] if written.alternatives else None
        if best is None or not best.caption.strip():
            yield failure(todo, INFER, "NoCaption", NO_CAPTION, run.started)
            continue
        if is_unread(todo.kept):
            facts = facts._replace(repairs=(*facts.repairs, REPAIR))
        yield CaptionRow(
            **facts._asdict(),
            caption=best.caption,
            flags=flags_of(best.caption),
            score=best.score,
            fingerprint=run.fingerprint,
            run_started=run.started,
            confidence=best.confidence,
            kept=todo.kept,
            **written._asdict(),
        )
