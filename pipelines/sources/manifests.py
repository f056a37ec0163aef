"""Manifests: files that name images one by one, or tables that hold the images themselves."""

import contextlib
import glob
import io
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.columns import TEXT, Column, Columns
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.sources.listing import find_files
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.sources.tables import PARQUET_SUFFIXES, is_table
from beamscribe.pipelines.sources.text_lines import Named, storable
from beamscribe.pipelines.sources.text_tables import read_rows
from beamscribe.pipelines.sources.versions import version_of
from beamscribe.pipelines.work.work_item import ARROW, PARQUET, UNREADABLE, Member, WorkItem
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.storage.location import folder_of, locate, named_uri, without_query
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import absolute, read_uri

PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".br", ".7z", ".rar")
ARCHIVES = (".zip", ".tar", ".tgz")
"""Suffixes of what is no manifest as it is."""


def read_manifests(
    sources: Iterable[str], columns: Columns, options: dict[str, Any], limit: int | None = None
) -> Corpus:
    """Reads manifests; a suffix says what each is: CSV, JSON, Parquet, Arrow, else text with one URI a line.

    Relative paths start at the manifest's folder. Tables may hold the images themselves, as binary values or as
    `struct<bytes, path>`; such a row's URI is `manifest::row`. A row that cannot be used is an item that fails. Nothing
    that a manifest names is asked for.

    Raises:
        RefusedError: if one cannot be read, or if all of them name no image.
    """
    sources = list(sources)
    with TableProcess() as process:
        found = (
            one
            for source in sources
            for uri in _expanded(source, options)
            for one in ((uri,) if isinstance(uri, Skipped) else _read(uri, columns, options, process))
        )
        corpus = distinct(found, limit, f"--manifest {' '.join(sources[:5])}")
    if not corpus.references:
        are = "is empty" if len(sources) == 1 else "are all empty"
        raise RefusedError(
            f"--manifest {' '.join(sources[:5])} {are}: write one URI a line, or give tables that have rows"
        )
    return corpus


def _expanded(source: str, options: dict[str, Any]) -> list[str | Skipped]:
    """The manifests that a source names, and what it names beside them, such as links to nothing."""
    try:
        if not glob.has_magic(source):
            return [absolute(source, options)]
        files, skipped = find_files(source, "--manifest", options)
    except StorageError as error:
        raise RefusedError(f"--manifest {source} cannot be read: {error}") from error
    if not files:
        raise RefusedError(f"--manifest {source} names no file: check the pattern")
    return [*files, *skipped]


def _read(uri: str, columns: Columns, options: dict[str, Any], process: TableProcess) -> Iterator[WorkItem | Skipped]:
    """What one manifest names."""
    name = without_query(uri).lower()
    if name.endswith(PACKED + ARCHIVES):
        remedy = "--images takes archives of images" if name.endswith(ARCHIVES) else "unpack it"
        raise RefusedError(f"--manifest {uri} is compressed: {remedy}")
    try:
        if is_table(name):
            yield from _table(uri, name, columns, options, process)
        else:
            with _opened(uri, options) as file:
                yield from _named(uri, read_rows(file, name, columns))
    except StorageError as error:
        raise RefusedError(f"--manifest {uri}: {error}") from error
    except (OSError, ValueError) as error:
        raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error


def _opened(uri: str, options: dict[str, Any]) -> IO[bytes]:
    """A file to read from its beginning: a local one piece by piece, any other as a whole."""
    path = locate(uri)
    return open(path.path, "rb") if path.local else io.BytesIO(read_uri(uri, options))


def _named(manifest: str, rows: Iterable[Named], first: int = 0) -> Iterator[WorkItem]:
    """Items that rows name; a row without a URI that can be read is an item that fails."""
    folder = folder_of(manifest)
    for number, row in enumerate(rows, first):
        problem = row.problem
        if not problem and row.uri:
            try:
                uri = named_uri(row.uri, folder, allow_http=True).uri
            except ValueError as error:
                problem = str(error)
            else:
                yield WorkItem(row.id or uri, uri)
                continue
        detail = (
            f"{row.place or f'row {number}'}: {problem}" if problem else f"{row.place or f'row {number}'} has no URI"
        )
        yield _failing(manifest, row.id or f"{manifest}::{number}", number, detail)


def _failing(manifest: str, id: str, number: int, detail: str) -> WorkItem:
    return WorkItem(id, manifest, member=Member(UNREADABLE, number, detail=storable(detail)))


def _table(uri: str, name: str, columns: Columns, options: dict[str, Any], process: TableProcess) -> Iterator[WorkItem]:
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
            yield from _items(uri, kind, column, part, listed, version)
            listed += part.rows
    except TableError as error:
        if not usable:
            raise
        reason = f"the table is damaged; {listed} rows of it could be listed: {error}"
        yield WorkItem(uri, uri, container=uri, member=Member(UNREADABLE, listed, detail=storable(reason)))
    if damage and not usable:
        raise TableError(damage)


def _items(uri: str, kind: str, column: Column, part: Part, listed: int, version: str) -> Iterator[WorkItem]:
    """Items of some rows.

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
        yield from _named(uri, rows, listed)
        return
    for row in range(part.rows):
        number, item = listed + row, f"{uri}::{listed + row}"
        id = part.ids[row] if part.ids else ""
        name = part.names[row] if part.names else None
        problem = part.damage or part.problems.get(row, "")
        if problem:
            yield _failing(uri, id or item, number, f"row {number}: {problem}")
        elif name is None:
            member = Member(kind, number, part.group, part.first + row, column.name, version=version)
            yield WorkItem(id or item, item, container=uri, member=member)
        elif name:
            yield from _named(uri, [Named(name, id)], number)
        else:
            yield _failing(uri, id or item, number, f"row {number} holds no image")
