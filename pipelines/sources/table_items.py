"""Items of manifests: what rows of text name, and what the rows of a table name or hold."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.pipelines.sources.columns import TEXT, Column, Columns
from beamscribe.pipelines.sources.kept_rows import KeptRows
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.sources.tables import PARQUET_SUFFIXES
from beamscribe.pipelines.sources.text_lines import Named, storable
from beamscribe.pipelines.sources.versions import size_and_version
from beamscribe.pipelines.work.work_item import ARROW, PARQUET, UNREADABLE, Member, WorkItem
from beamscribe.schemas.counted import counted
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.schemas.output_parts import Piece
from beamscribe.storage.location import folder_of, named_uri


class Listing(NamedTuple):
    """How manifests are read, and what of their columns is kept.

    Attributes:
        columns: as `--uri-column` and `--id-column` say.
        options: passed to fsspec.
        process: that reads tables.
        kept: what is kept of columns.
        versions: bytes and version of files of which it is known, by URI.
    """

    columns: Columns
    options: dict[str, Any]
    process: TableProcess
    kept: KeptRows | None
    versions: Mapping[str, tuple[int, str]] = {}


def named_items(
    manifest: str, rows: Iterable[Named], first: int = 0, add: Callable[[Named], int] | None = None
) -> Iterator[WorkItem]:
    """Items that rows name; a row without a URI that can be read is an item that fails.

    Args:
        manifest: which one.
        rows: of it.
        first: number of the first of them.
        add: takes the kept columns of a row and gives their number.
    """
    folder = folder_of(manifest)
    for number, row in enumerate(rows, first):
        problem = row.problem
        if not problem and row.uri:
            try:
                uri = named_uri(row.uri, folder, allow_http=True).uri
            except ValueError as error:
                problem = str(error)
            else:
                yield WorkItem(row.id or uri, uri, kept=add(row) if add else None)
                continue
        detail = (
            f"{row.place or f'row {number}'}: {problem}" if problem else f"{row.place or f'row {number}'} has no URI"
        )
        yield _failing(manifest, row.id or f"{manifest}::{number}", number, detail)


def _failing(manifest: str, id: str, number: int, detail: str) -> WorkItem:
    return WorkItem(id, manifest, member=Member(UNREADABLE, number, detail=storable(detail)))


def table_items(uri: str, name: str, listing: Listing, piece: Piece | None = None) -> Iterator[WorkItem]:
    """Items that the rows of a table hold or name, or those of some row groups.

    Raises:
        TableError: if none can be listed.
    """
    columns, options, process, kept, versions = listing
    where = Where.of(uri, options, allow_private=False)
    kind = PARQUET if name.endswith(PARQUET_SUFFIXES) else ARROW
    size, version = 0, ""
    # What cannot be asked for now fails below, where that is told.
    with contextlib.suppress(OSError):
        size, version = versions.get(uri) or size_and_version(where)
    if size:
        process.know_size(where, size)
    begins, some = (piece.row, (piece.first, piece.groups)) if piece else (0, None)
    first = _keep(uri, where, process, kept, some) if kept else 0
    parts = process.rows(where, columns, MAX_BYTES, some)
    column = Column((), TEXT)
    # Of a piece nobody knows what the rest of the file is like.
    listed, usable, damage = begins, piece is not None, ""
    try:
        with contextlib.closing(parts):
            for part in parts:
                if isinstance(part, Column):
                    column = part
                    continue
                damage = damage or part.damage
                usable = usable or not part.damage
                for number, item in _items(uri, kind, column, part, listed, version):
                    yield item._replace(kept=first + number - begins) if kept else item
                listed += part.rows
    except TableError as error:
        if not usable:
            raise
        reason = f"the table is damaged; {counted(listed, 'row')} of it could be listed: {error}"
        yield WorkItem(uri, uri, container=uri, member=Member(UNREADABLE, listed, detail=storable(reason)))
    if damage and not usable:
        raise TableError(damage)


def _keep(uri: str, where: Where, process: TableProcess, kept: KeptRows, some: tuple[int, int] | None) -> int:
    """Reads the columns of a table that are kept; gives the number of its first row among all that are.

    Raises:
        TableError: if it cannot be read.
        OSError: if storage fails.
    """
    names, schema, rows = process.kept(where, kept.sources, some)
    kept.see_names(names)
    return kept.add_table(uri, schema, _until_damage(rows))


def _until_damage(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows as far as they can be read; what is behind them is told where the items are listed."""
    with contextlib.suppress(TableError):
        yield from rows


def _items(
    uri: str, kind: str, column: Column, part: Part, listed: int, version: str
) -> Iterator[tuple[int, WorkItem]]:
    """Items of some rows, with the numbers of their rows.

    Args:
        uri: of the table.
        kind: of its members.
        column: of images or of their names.
        part: the rows.
        listed: rows before them.
        version: of the table, see `beamscribe.pipelines.sources.versions`.
    """
    if column.kind == TEXT and not part.damage:
        names, ids = part.names or [""] * part.rows, part.ids or [""] * part.rows
        rows = (
            Named(name or "", id, part.problems.get(row, ""))
            for row, (name, id) in enumerate(zip(names, ids, strict=True))
        )
        yield from enumerate(named_items(uri, rows, listed), listed)
        return
    for row in range(part.rows):
        number, item = listed + row, f"{uri}::{listed + row}"
        id = part.ids[row] if part.ids else ""
        name = part.names[row] if part.names else None
        problem = part.damage or part.problems.get(row, "")
        if problem:
            yield number, _failing(uri, id or item, number, f"row {number}: {problem}")
        elif name is None:
            member = Member(kind, number, part.group, part.first + row, column.name, version=version)
            yield number, WorkItem(id or item, item, container=uri, member=member)
        elif name:
            yield from enumerate(named_items(uri, [Named(name, id)], number), number)
        else:
            yield number, _failing(uri, id or item, number, f"row {number} holds no image")
