"""The work items that the latest run was asked for, stored in parts, by which `status` and `verify` know them."""

import io
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.pipelines.commits.part_files import replace_parts
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import TEXT, WorkItems
from beamscribe.schemas.corpus_item import FOLDER, OLD_SUFFIX, SCHEMA, SUFFIX, VERSION
from beamscribe.schemas.stored import read_stored
from beamscribe.storage.storage import Entry, Storage

PART_SIZE = 20_000
"""Work items of a part: a reader takes as many into memory at once."""


def write_corpus(output: Storage, items: Sequence[WorkItem]) -> None:
    """Stores work items in the place of those of an earlier run.

    Queries are not among them: they may be signatures, which only workers need. Nor is what follows, which says
    something to the launcher that listed them alone.
    """
    packed = items if isinstance(items, WorkItems) else WorkItems.of(items)

    def part(start: int) -> bytes:
        buffer = io.BytesIO()
        columns = packed.stored_columns(start, start + PART_SIZE)
        pq.write_table(pa.table(list(columns), schema=SCHEMA), buffer, compression="zstd")
        return buffer.getvalue()

    starts = range(0, len(packed), PART_SIZE)
    replace_parts(output, FOLDER, ((f"{number:05d}{SUFFIX}", part(start)) for number, start in enumerate(starts)))


def read_corpus(output: Storage) -> Iterator[WorkItem]:
    """The stored work items; while a run writes others, some of both.

    Raises:
        ValueError: if a part is damaged; a newer Beamscribe may have written it.
    """
    for entry in corpus_parts(output):
        yield from read_items(output, entry.name)


def corpus_parts(output: Storage) -> list[Entry]:
    """The files of the stored work items."""
    return [entry for entry in output.files(FOLDER) if entry.name.endswith((SUFFIX, OLD_SUFFIX))]


def read_items(output: Storage, name: str) -> list[WorkItem]:
    """The work items of a part.

    Raises:
        ValueError: as `read_corpus`.
    """
    data = output.read(name)
    table = None if name.endswith(OLD_SUFFIX) else read_stored(data, output.uri(name), SCHEMA, VERSION)
    try:
        if table is None:
            return [WorkItem.from_json(fields) for fields in json.loads(data)]
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        return [WorkItem.from_json((id, uri, *json.loads(more or "[]"))) for id, uri, more in rows]
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{output.uri(name)} is damaged: {error}") from error


def ids_of_part(output: Storage, name: str) -> pa.LargeStringArray:
    """The ids of a part.

    Raises:
        ValueError: as `read_corpus`.
    """
    if not name.endswith(OLD_SUFFIX):
        table = read_stored(output.read(name), output.uri(name), SCHEMA, VERSION, ["id"])
        return pa.array(table["id"].combine_chunks().cast(TEXT), TEXT)
    try:
        return pa.array([item.id for item in read_items(output, name)], TEXT)
    except pa.ArrowException as error:
        raise ValueError(f"{output.uri(name)} is damaged: {error}") from error


def read_ids(output: Storage) -> pa.LargeStringArray:
    """The distinct ids of the stored work items.

    Raises:
        ValueError: as `read_corpus`.
    """
    found = output.prefetch(lambda part: ids_of_part(output, part.name), corpus_parts(output))
    return pa.chunked_array(found, TEXT).unique()
