"""Manifests: files that name images one by one, or tables that hold the images themselves."""

import contextlib
import glob
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.columns import TEXT, Column, Columns
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.sources.found_files import find_files
from beamscribe.pipelines.sources.kept_rows import KeptRows
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.sources.tables import PARQUET_SUFFIXES, is_table
from beamscribe.pipelines.sources.text_lines import Named, storable
from beamscribe.pipelines.sources.text_tables import CSV_SUFFIX, TSV_SUFFIXES, read_rows
from beamscribe.pipelines.sources.versions import version_of
from beamscribe.pipelines.work.work_item import ARROW, PARQUET, UNREADABLE, Member, WorkItem
from beamscribe.schemas.counted import counted
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.storage.location import folder_of, locate, named_uri, without_query
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import absolute, read_uri

PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".br", ".7z", ".rar")
ARCHIVES = (".zip", ".tar", ".tgz")
"""Suffixes of what is no manifest as it is."""


def read_manifests(
    sources: Iterable[str],
    columns: Columns,
    options: dict[str, Any],
    limit: int | None = None,
    keeps: Sequence[Keep] = (),
) -> Corpus:
    """Reads manifests; a suffix says what each is: CSV, JSON, Parquet, Arrow, else text with one URI a line.

    Relative paths start at the manifest's folder. Tables may hold the images themselves, as binary values or as
    `struct<bytes, path>`; such a row's URI is `manifest::row`. A row that cannot be used is an item that fails. Nothing
    that a manifest names is asked for.

    Raises:
        RefusedError: if one cannot be read, if all of them name no image, or if none has a column that is to be kept.
    """
    sources = list(sources)
    kept = KeptRows(keeps) if keeps else None
    columns = columns._replace(keep=kept.sources if kept else ())
    with TableProcess() as process:
        found = (
            one
            for source in sources
            for uri in _expanded(source, options)
            for one in ((uri,) if isinstance(uri, Skipped) else _read(uri, columns, options, process, kept))
        )
        corpus = distinct(found, limit, f"--manifest {' '.join(sources[:5])}")
    if not corpus.references:
        are = "is empty" if len(sources) == 1 else "are all empty"
        raise RefusedError(
            f"--manifest {' '.join(sources[:5])} {are}: write one URI a line, or give tables that have rows"
        )
    if kept:
        kept.end(f"--manifest {' '.join(sources[:5])}")
    return corpus._replace(kept=kept)


def _expanded(source: str, options: dict[str, Any]) -> list[str | Skipped]:
    """The manifests that a source names, and what it names beside them, such as links to nothing."""
    try:
        if not glob.has_magic(source):
            return [absolute(source, options)]
        files, skipped, _ = find_files(source, "--manifest", options)
    except StorageError as error:
        raise RefusedError(f"--manifest {source} cannot be read: {error}") from error
    if not files:
        raise RefusedError(f"--manifest {source} names no file: check the pattern")
    return [*files, *skipped]


def _read(
    uri: str, columns: Columns, options: dict[str, Any], process: TableProcess, kept: KeptRows | None
) -> Iterator[WorkItem | Skipped]:
    """What one manifest names."""
    name = without_query(uri).lower()
    if name.endswith(PACKED + ARCHIVES):
        remedy = "--images takes archives of images" if name.endswith(ARCHIVES) else "unpack it"
        raise RefusedError(f"--manifest {uri} is compressed: {remedy}")
    try:
        if is_table(name):
            yield from _table(uri, name, columns, options, process, kept)
        else:
            with _opened(uri, options) as file:
                rows = read_rows(file, name, columns, kept.see_names) if kept else read_rows(file, name, columns)
                add = _adder(uri, name, kept) if kept else None
                yield from _named(uri, rows, add=add)
    except StorageError as error:
        raise RefusedError(f"--manifest {uri}: {error}") from error
    except (OSError, ValueError) as error:
        raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error


def _opened(uri: str, options: dict[str, Any]) -> IO[bytes]:
    """A file to read from its beginning: a local one piece by piece, any other as a whole."""
    path = locate(uri)
    return open(path.path, "rb") if path.local else io.BytesIO(read_uri(uri, options))


def _adder(manifest: str, name: str, kept: KeptRows) -> Callable[[Named], int]:
    """Takes the kept columns of a row of text."""
    if name.endswith((CSV_SUFFIX, *TSV_SUFFIXES)):
        return lambda row: kept.add_text(manifest, row.kept)
    return lambda row: kept.add_json(row.kept)


def _named(
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


def _table(
    uri: str,
    name: str,
    columns: Columns,
    options: dict[str, Any],
    process: TableProcess,
    kept: KeptRows | None,
) -> Iterator[WorkItem]:
    """Items that the rows of a table hold or name.

    Raises:
        TableError: if none can be listed.
    """
    where = Where(uri, json.dumps(options, sort_keys=True), False)
    kind = PARQUET if name.endswith(PARQUET_SUFFIXES) else ARROW
    version = ""
    # What cannot be asked for now fails below, where that is told.
    with contextlib.suppress(OSError):
        version = version_of(where)
    first = _keep(uri, where, process, kept) if kept else 0
    parts = process.rows(where, columns, MAX_BYTES)
    column = Column((), TEXT)
    listed, usable, damage = 0, False, ""
    try:
        for part in parts:
            if isinstance(part, Column):
                column = part
                continue
            damage = damage or part.damage
            usable = usable or not part.damage
            for number, item in _items(uri, kind, column, part, listed, version):
                yield item._replace(kept=first + number) if kept else item
            listed += part.rows
    except TableError as error:
        if not usable:
            raise
        reason = f"the table is damaged; {counted(listed, 'row')} of it could be listed: {error}"
        yield WorkItem(uri, uri, container=uri, member=Member(UNREADABLE, listed, detail=storable(reason)))
    if kept:
        kept.pad(first + listed)
    if damage and not usable:
        raise TableError(damage)


def _keep(uri: str, where: Where, process: TableProcess, kept: KeptRows) -> int:
    """Reads the columns of a table that are kept; gives the number of its first row among all that are.

    Raises:
        TableError: if it cannot be read.
        OSError: if storage fails.
    """
    names, schema, rows = process.kept(where, kept.sources)
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
        yield from enumerate(_named(uri, rows, listed), listed)
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
            yield from enumerate(_named(uri, [Named(name, id)], number), number)
        else:
            yield number, _failing(uri, id or item, number, f"row {number} holds no image")
