"""Images whose captions another captioner was unsure of, to be captioned again."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.captioned_rows import CONFIDENCE, ID, URI, members_of, rows_of
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.sources.kept_rows import KeptRows
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.kept_columns import from_details
from beamscribe.schemas.rows import CAPTIONS, with_kept_columns
from beamscribe.storage.output_reader import OutputReader, read_manifest_of
from beamscribe.storage.storage import Storage

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
    kept, first = _kept_of(source, options)
    unsure: list[tuple[float, str, str, int]] = []
    left_out: list[Skipped] = []
    sure = without = 0
    for number, row in enumerate(rows_of(source, "--retake", options)):
        confidence = row.get(CONFIDENCE)
        if confidence is None:
            without += 1
        elif confidence < below:
            unsure.append((confidence, str(row.get(ID) or row[URI]), row[URI], number))
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
        for _, id, uri, number in sorted(unsure):
            yield (inside.get(id) or WorkItem(id, uri))._replace(kept=first + number if kept else None)
        yield from left_out

    corpus = distinct(listing(), limit, f"--retake {source}", "beamscribe verify says what is wrong with it")
    return corpus._replace(kept=kept)


def _kept_of(source: str, options: dict[str, Any]) -> tuple[KeptRows | None, int]:
    """The columns that an output has kept of its own source, in the order of its rows, and the number of the first row.

    Raises:
        RefusedError: if they cannot be read.
    """
    try:
        output = Storage(source, options)
        manifest = read_manifest_of(output)
        columns = from_details(manifest.details if manifest else {})
        if manifest is None or not columns.names:
            return None, 0
        found = KeptRows([Keep(name, name) for name in columns.names])
        found.see_names(columns.names)
        tables = OutputReader(output, manifest, with_kept_columns(CAPTIONS, columns)).tables(columns.names)
        schema = pa.schema([(one.name, one.type) for one in columns])
        first = found.add_table(source, schema, (batch for table in tables for batch in table.to_batches()))
        found.end(f"--retake {source}")
    except (OSError, ValueError) as error:
        raise RefusedError(f"--retake {source} cannot be read: {error}") from error
    return found, first
