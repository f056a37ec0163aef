"""Large Parquet manifests in parts: a part is some row groups, which a launcher lists at once.

What is asked of a part goes into an output of its own, `OUTPUT/parts/NNNNN`, so that neither listing nor resuming needs
memory for more than one.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.tables import PARQUET_SUFFIXES
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.schemas.output_parts import OutputPart, Piece
from beamscribe.storage.location import without_query

MOST_LISTED = 10_000_000
"""Rows of all manifests that are listed at once: beyond, a launcher would need more than three gibibytes."""

PART_ROWS = 2_000_000
"""Of a part at most, where row groups are not larger: these take some 0.9 GiB of a launcher, and 40 s."""

LEAST_BYTES = 2**18
"""Of manifests that may have more rows than are listed at once: ten million names that follow each other take a
mebibyte where they are compressed best."""

NO_GROUPS = (0, 0)
"""First row group and number of them, of which only the columns are told."""


def cut(uri: str, groups: Sequence[int], most: int) -> Iterator[Piece]:
    """Row groups of a file, as many together as have so many rows; a larger one is alone.

    Args:
        uri: of the file.
        groups: rows of each.
        most: rows of a piece.
    """
    first = row = rows = 0
    for number, count in enumerate(groups):
        if rows and rows + count > most:
            yield Piece(uri, first, number - first, row, rows)
            first, row, rows = number, row + rows, 0
        rows += count
    if rows:
        yield Piece(uri, first, len(groups) - first, row, rows)


def assign(pieces: Iterable[Piece], earlier: Sequence[OutputPart], most: int) -> list[OutputPart]:
    """Parts of pieces: what an earlier command has put into a part stays there, what is new comes into others.

    Args:
        pieces: that are asked for; what follows the question mark of a URL does not tell them apart.
        earlier: parts of earlier commands.
        most: rows of a new part, where a piece has no more.
    """
    wanted = {(without_query(piece.uri), piece.first): piece for piece in pieces}
    parts = []
    for part in earlier:
        kept = [wanted.pop((old.uri, old.first), old._replace(groups=0, rows=0)) for old in part.pieces]
        parts.append(OutputPart(part.number, tuple(kept)))
    new: list[Piece] = []
    rows = 0
    for piece in wanted.values():
        if new and rows + piece.rows > most:
            parts.append(OutputPart(len(parts), tuple(new)))
            new, rows = [], 0
        new.append(piece)
        rows += piece.rows
    return [*parts, OutputPart(len(parts), tuple(new))] if new else parts


def divided(
    files: Mapping[str, int | None], options: dict[str, Any], earlier: Sequence[OutputPart] = ()
) -> list[OutputPart]:
    """The parts that manifests are done in; none if all their rows can be listed at once, or some are not Parquet.

    Args:
        files: bytes of each manifest by URI, where they are known.
        options: passed to fsspec.
        earlier: parts of the output, which is in parts for good.

    Raises:
        RefusedError: if the output is in parts and manifests are empty or not Parquet, or if one cannot be read.
    """
    if earlier and not _are_parquet(files):
        raise RefusedError(
            "--manifest: an output in parts takes Parquet manifests: give others an --output of their own"
        )
    pieces = _pieces(files, options, PART_ROWS, even_few=bool(earlier))
    return assign(pieces, earlier, PART_ROWS) if pieces else []


class FirstRows(NamedTuple):
    """The beginning of manifests that are too large to be listed at once.

    Attributes:
        pieces: that hold the first rows that are asked for.
        rows: of all manifests.
    """

    pieces: tuple[Piece, ...]
    rows: int


def first_rows(files: Mapping[str, int | None], options: dict[str, Any], count: int) -> FirstRows | None:
    """Where the first rows of large manifests are; None if all can be listed at once, or some are not Parquet.

    Args:
        files: as `divided` takes them.
        options: passed to fsspec.
        count: of rows that are asked for.

    Raises:
        RefusedError: if a manifest cannot be read.
    """
    pieces = _pieces(files, options, min(count, PART_ROWS))
    before = (0, *itertools.accumulate(piece.rows for piece in pieces))
    wanted = tuple(piece for piece, rows in zip(pieces, before, strict=False) if rows < count)
    return FirstRows(wanted, before[-1]) if pieces else None


def _are_parquet(files: Iterable[str]) -> bool:
    return all(without_query(uri).lower().endswith(PARQUET_SUFFIXES) for uri in files)


def _pieces(files: Mapping[str, int | None], options: dict[str, Any], most: int, even_few: bool = False) -> list[Piece]:
    """Pieces of manifests that have too many rows to be listed at once, or even of few; else none.

    Raises:
        RefusedError: if one cannot be read, or none has a row.
    """
    if not _are_parquet(files):
        return []
    wheres = {uri: Where.of(uri, options, allow_private=False) for uri in files}
    if not even_few:
        with contextlib.suppress(OSError):  # Told where it is listed.
            if sum(wheres[uri].size() if size is None else size for uri, size in files.items()) < LEAST_BYTES:
                return []
    pieces: list[Piece] = []
    damaged: list[str] = []
    with TableProcess() as process:
        for uri, where in wheres.items():
            try:
                pieces += cut(uri, process.groups(where), most)
            except TableError as error:
                damaged.append(f"--manifest {uri} cannot be read: {error}")
            except OSError as error:
                raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error
    if not even_few and sum(piece.rows for piece in pieces) <= MOST_LISTED:
        return []
    if damaged or not pieces:
        empty = f"--manifest {' '.join(list(files)[:5])} has no rows: give tables that have some"
        raise RefusedError(damaged[0] if damaged else empty)
    return pieces


class TableColumns(NamedTuple):
    """The columns of a manifest.

    Attributes:
        uri: of the file.
        names: of all columns.
        kept: those that are kept, with their types.
    """

    uri: str
    names: list[str]
    kept: pa.Schema


def columns_of(
    files: Iterable[str], columns: Columns, options: dict[str, Any], kept: Sequence[str]
) -> list[TableColumns]:
    """The columns of manifests, of which no rows are read: what is wrong with one is told before another is done.

    Args:
        files: the manifests.
        columns: as `--uri-column` and `--id-column` say.
        options: passed to fsspec.
        kept: names of columns that are kept.

    Raises:
        RefusedError: if one cannot be read, or has no columns that name or hold images.
    """
    found = []
    with TableProcess() as process:
        for uri in files:
            where = Where.of(uri, options, allow_private=False)
            try:
                for _ in process.rows(where, columns, MAX_BYTES, NO_GROUPS):
                    pass
                names, schema, rows = process.kept(where, kept, NO_GROUPS)
                for _ in rows:
                    pass
            except (TableError, OSError) as error:
                raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error
            found.append(TableColumns(uri, names, schema))
    return found
