"""Captions of another captioner as annotations: what a large model said of photographs, for a small one to learn."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.captioned_rows import (
    ALTERNATIVES,
    CAPTION,
    CONFIDENCE,
    ID,
    URI,
    members_of,
    rows_of,
)
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.coco import CocoCaption

NO_URI, NO_CAPTION, UNSURE = "no image URI", "no caption", "below --min-confidence"
"""Reasons for which rows are left out."""


def taught_images(
    sources: Sequence[str], options: dict[str, Any], alternatives: int, least: float
) -> Iterator[WorkItem | Skipped]:
    """Images with the captions of every source: an image that several sources caption has all of them.

    Args:
        sources: outputs of beamscribe caption, or Parquet files, folders or globs, see `captioned_rows.rows_of`.
        options: for storage.
        alternatives: captions of a row at most, the best first.
        least: confidence below which a row is left out; a row without one stays.

    Raises:
        RefusedError: if a source cannot be read or has no captions.
    """
    texts: dict[str, dict[str, None]] = {}
    items: dict[str, WorkItem] = {}
    for source in sources:
        found = 0
        inside = members_of(source, options)
        for row in rows_of(source, "--captions", options):
            uri, caption = row.get(URI), row.get(CAPTION)
            sure = row.get(CONFIDENCE)
            if not uri:
                yield Skipped(NO_URI)
            elif not caption or not caption.strip():
                yield Skipped(NO_CAPTION)
            elif sure is not None and sure < least:
                yield Skipped(UNSURE)
            else:
                found += 1
                said = dict.fromkeys(_said(caption, row.get(ALTERNATIVES) or (), alternatives))
                texts.setdefault(uri, {}).update(said)
                id = str(row.get(ID) or uri)
                items.setdefault(uri, inside.get(id) or WorkItem(id, uri, re.split(r"[/:]", uri)[-1]))
        if not found:
            raise RefusedError(f"--captions {source} has no row with an image and a caption: there is nothing to learn")
    for uri, captions in texts.items():
        numbered = tuple(CocoCaption(number, text) for number, text in enumerate(captions))
        yield items[uri]._replace(captions=numbered)


def _said(caption: str, alternatives: Sequence[Any], count: int) -> list[str]:
    """The caption and the best alternatives, each text once."""
    others = (one["caption"] for one in alternatives if isinstance(one, dict) and one.get("caption"))
    return list(dict.fromkeys([caption, *others]))[:count]
