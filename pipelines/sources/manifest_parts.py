"""Large Parquet manifests in parts: a part is some row groups, which a launcher lists at once.

What is asked of a part goes into an output of its own, `OUTPUT/parts/NNNNN`, so that neither listing nor resuming needs
memory for more than one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.tables import PARQUET_SUFFIXES
from beamscribe.schemas.output_parts import Part, Piece
from beamscribe.storage.location import without_query

MOST_LISTED = 10_000_000
"""Rows of all manifests that are listed at once: beyond, a launcher would need more than three gibibytes."""

PART_ROWS = 2_000_000
"""Of a part at most, where row groups are not larger: these take some 0.9 GiB of a launcher, and 40 s."""

LEAST_BYTES = 2**21
"""Of manifests that may have more rows than are listed at once, however well they are compressed."""


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


def assign(pieces: Iterable[Piece], earlier: Sequence[Part], most: int) -> list[Part]:
    """Parts of pieces: what an earlier command has put into a part stays there, what is new comes into others.

    Args:
        pieces: that are asked for.
        earlier: parts of earlier commands.
        most: rows of a part, where a piece has no more.
    """
    asked = {(piece.uri, piece.first): piece for piece in pieces}
    parts = []
    for part in earlier:
        kept = [asked.pop((old.uri, old.first), old._replace(groups=0, rows=0)) for old in part.pieces]
        parts.append(Part(part.number, tuple(kept)))
    new: list[Piece] = []
    for piece in asked.values():
        if new and sum(one.rows for one in new) + piece.rows > most:
            parts.append(Part(len(parts), tuple(new)))
            new = []
        new.append(piece)
    return [*parts, Part(len(parts), tuple(new))] if new else parts


def parts_of(files: Mapping[str, int | None], options: dict[str, Any], earlier: Sequence[Part] = ()) -> list[Part]:
    """The parts that manifests are done in; none if all their rows can be listed at once.

    Args:
        files: bytes of each manifest by URI, where they are known.
        options: passed to fsspec.
        earlier: parts of the output, which is in parts for good.

    Raises:
        RefusedError: if a manifest of an output in parts cannot be read.
    """
    if not all(without_query(uri).lower().endswith(PARQUET_SUFFIXES) for uri in files):
        if earlier:
            raise RefusedError(
                "--manifest: an output in parts takes Parquet manifests: give others an --output of their own"
            )
        return []
    pieces: list[Piece] = []
    wheres = {uri: Where.of(uri, options, allow_private=False) for uri in files}
    try:
        sizes = (wheres[uri].size() if size is None else size for uri, size in files.items())
        if not earlier and sum(sizes) < LEAST_BYTES:
            return []
        with TableProcess() as process:
            for uri, where in wheres.items():
                pieces += cut(uri, process.groups(where), PART_ROWS)
    except (TableError, OSError) as error:
        # Where all manifests are listed at once, what can be listed of a damaged one is.
        if earlier:
            raise RefusedError(f"--manifest {' '.join(list(files)[:5])} cannot be read: {error}") from error
        return []
    if earlier or sum(piece.rows for piece in pieces) > MOST_LISTED:
        return assign(pieces, earlier, PART_ROWS)
    return []
