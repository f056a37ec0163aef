"""Rows of captions, of an output of `beamscribe caption` or of any Parquet, as a source of images."""

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.asked import asked_items
from beamscribe.pipelines.sources.found_files import find_files
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import caption_row
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.rows import CAPTIONS
from beamscribe.storage.output_reader import OutputReader, read_manifest_of
from beamscribe.storage.storage import Storage
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import read_uri

URI, CAPTION, ID, ALTERNATIVES, CONFIDENCE = "image_uri", "caption", "id", "alternatives", "confidence"
"""Columns; the first two are needed."""


def rows_of(source: str, flag: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that count.

    Args:
        source: an output of beamscribe caption, or a Parquet file, a folder of them or a glob.
        flag: that names it, for people.
        options: for storage.

    Raises:
        RefusedError: if it cannot be read or has no columns `image_uri` and `caption`.
    """
    try:
        output = None if _is_pattern(source) else Storage(source, options)
        found = read_manifest_of(output) if output else None
        if output and found:
            yield from _committed(output, found, source, flag)
            return
        for uri in _files(source, flag, output, options):
            table = pq.ParquetFile(io.BytesIO(read_uri(uri, options)))
            names = table.schema_arrow.names
            if missing := [name for name in (URI, CAPTION) if name not in names]:
                raise RefusedError(f"{flag} {uri} has no column {' and '.join(missing)}: rename its columns")
            wanted = [name for name in (URI, CAPTION, ID, ALTERNATIVES, CONFIDENCE) if name in names]
            for batch in table.iter_batches(columns=wanted):
                yield from batch.to_pylist()
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise RefusedError(f"{flag} {source} cannot be read: {error}") from error


def members_of(source: str, options: dict[str, Any]) -> dict[str, WorkItem]:
    """Images of an output that lie inside files of many: image id → where it was read; empty of any other Parquet."""
    if _is_pattern(source):
        return {}
    output = Storage(source, options)
    return {one.id: one for one in asked_items(output) if one.member}


def _is_pattern(source: str) -> bool:
    return source.endswith(".parquet") or any(letter in source for letter in "*?[")


def _committed(output: Storage, found: Manifest, source: str, flag: str) -> Iterator[dict[str, Any]]:
    """Rows of an output; those that are being replaced by other settings are left out."""
    if found.job != "caption":
        raise RefusedError(f"{flag} {source} holds the output of {found.job}: give an output of beamscribe caption")
    for table in OutputReader(output, found, CAPTIONS).tables():
        yield from table.to_pylist()


def _files(source: str, flag: str, folder: Storage | None, options: dict[str, Any]) -> list[str]:
    """Parquet files that a path, a folder or a glob names."""
    try:
        if folder is None:
            return find_files(source, flag, options).files
        entries = folder.files(caption_row.FOLDER, ".parquet") or folder.files("", ".parquet")
    except (OSError, StorageError) as error:
        raise RefusedError(f"{flag} {source} cannot be listed: {error}") from error
    if not entries:
        raise RefusedError(
            f"{flag} {source} holds no captions: give an output of beamscribe caption, or Parquet files with columns "
            f"{URI} and {CAPTION}"
        )
    return [folder.uri(entry.name) for entry in entries]
