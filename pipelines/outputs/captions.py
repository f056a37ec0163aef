"""An output of caption as later commands read it: its committed rows, file by file."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.schemas.caption_json import rows_of
from beamscribe.schemas.kept_columns import from_details, kept_of
from beamscribe.schemas.rows import CAPTIONS, ParquetRows, with_kept_columns
from beamscribe.storage.output_reader import OutputReader, open_output
from beamscribe.storage.storage import Storage

Captions = OutputReader[ParquetRows]
"""An output of beamscribe caption."""


def open_captions(path: str, options: dict[str, Any]) -> Captions:
    """Opens an output of beamscribe caption.

    Raises:
        RefusedError: if it is none.
    """
    found = open_output(Storage(path, options), CAPTIONS)
    if found.manifest.job != "caption":
        raise RefusedError(f"{path} holds the output of {found.manifest.job}: give an output of beamscribe caption")
    try:
        kept = from_details(found.manifest.details)
    except ValueError as error:
        raise RefusedError(f"{path}: {error}") from error
    return dataclasses.replace(found, format=with_kept_columns(CAPTIONS, kept))


def kept_names(captioned: Captions) -> list[str]:
    """The columns that an output has kept of its sources."""
    return kept_of(captioned.format.schema).names


def rows_by_file(captioned: Captions, least: float = 0.0) -> Iterator[list[dict[str, Any]]]:
    """The rows of each committed file that count.

    Args:
        captioned: the output.
        least: confidence below which rows are left out; rows without one stay.

    Raises:
        ValueError: if a file is damaged.
        OSError: if one cannot be read.
    """
    for table in captioned.tables():
        rows = rows_of(table)
        yield [row for row in rows if row["confidence"] is None or row["confidence"] >= least] if least else rows
