"""Images whose captions another captioner was unsure of, to be captioned again."""

from collections.abc import Iterator
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.captioned_rows import CONFIDENCE, ID, URI, members_of, rows_of
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.work.work_item import WorkItem

BELOW = 0.4
"""Confidence below which a caption is made again, where nothing else is asked for."""

SURE, NO_CONFIDENCE = "sure enough", "no confidence"
"""Reasons for which rows are left out."""


def unsure_images(source: str, below: float, options: dict[str, Any], limit: int | None = None) -> Corpus:
    """The images of an output whose captions have less confidence, the least sure first.

    Args:
        source: output of beamscribe caption.
        below: confidence.
        options: for storage.
        limit: images at most.

    Raises:
        RefusedError: if the output cannot be read, or its captioner was not calibrated.
    """
    inside = members_of(source, options)
    unsure: list[tuple[float, str, str]] = []
    left_out: list[Skipped] = []
    sure = without = 0
    for row in rows_of(source, "--retake", options):
        confidence = row.get(CONFIDENCE)
        if confidence is None:
            without += 1
        elif confidence < below:
            unsure.append((confidence, str(row.get(ID) or row[URI]), row[URI]))
        else:
            sure += 1
    if without and not unsure and not sure:
        raise RefusedError(
            f"--retake {source} has no confidence in its rows: see beamscribe calibrate, which gives bundles one"
        )
    if not unsure:
        raise RefusedError(
            f"--retake {source} has no caption with a confidence below {below}: there is nothing to do, or give --below"
        )
    left_out += [Skipped(reason, count) for reason, count in ((SURE, sure), (NO_CONFIDENCE, without)) if count]

    def listing() -> Iterator[WorkItem | Skipped]:
        for _, id, uri in sorted(unsure):
            yield inside.get(id) or WorkItem(id, uri)
        yield from left_out

    return distinct(listing(), limit, f"--retake {source}", "beamscribe verify says what is wrong with it")
