"""A Parquet table gone through from one of its rows on: what its rows are, as a listing tells it, and their images."""

import bisect
import itertools
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.cells import bounded_bytes
from beamscribe.pipelines.sources.columns import Column, Columns
from beamscribe.pipelines.sources.parquet_pages import UnusualPageError
from beamscribe.pipelines.sources.parquet_table import ParquetTable
from beamscribe.pipelines.sources.parquet_values import Place, Values
from beamscribe.pipelines.sources.table_rows import Part, Rows, described, list_rows


class Spans(NamedTuple):
    """Which bytes of a file are going to be read.

    Attributes:
        spans: first byte and number of bytes of each part, as the file's metadata says.
    """

    spans: list[tuple[int, int]]


def pass_rows(
    table: ParquetTable, asked: Columns, begins: int, listed_bytes: int, max_bytes: int, place: Place | None = None
) -> Iterator[Column | Spans | Part | Place | bytes | str]:
    """The rows of a table from one on, each image behind the part that names its row.

    Args:
        table: which one.
        asked: its columns, of which none is one of ids.
        begins: number of the first row.
        listed_bytes: of an image beyond which a listing says that its row cannot be used.
        max_bytes: of an image that is read.
        place: of the first row or of one before it in its row group, which is read from there; by default from its
            beginning.

    Yields:
        First the column of images or of their names, and what will be read; then parts of rows, behind each of them for
        each row that `holds` its image bytes, or why there are none, before which its place may be told.

    Raises:
        ColumnError: see `beamscribe.pipelines.sources.columns.choose`.
        pa.ArrowException: if it is damaged; what came before is as it is.
    """
    groups = list(table.groups([]))
    firsts = [0, *itertools.accumulate(groups)]
    first = min(bisect.bisect_right(firsts, begins) - 1, len(groups))
    if place and not firsts[first] <= place.row <= begins:
        place = None
    images: _Images | None = None
    some = (first, len(groups) - first)
    for part in list_rows(table, asked, listed_bytes, some, begins - firsts[first]):
        yield part
        if isinstance(part, Column):
            yield Spans(table.spans(range(first, len(groups)), part, place.begin if place else 0))
            images = _Images(table, part, max_bytes, firsts, place)
            continue
        assert images
        for row in range(part.rows):
            if not holds(part, row):
                continue
            try:
                found, image = images.read(part.group, part.first + row)
                if found:
                    yield found
                yield image
            except Exception as error:  # noqa: BLE001 - whatever a stranger's row brings about is its own failure
                yield described(error)


def holds(part: Part, row: int) -> bool:
    """Whether a row of a part holds an image that can be asked for.

    Args:
        part: of a table.
        row: in the part.
    """
    return not part.damage and row not in part.problems and (part.names is None or part.names[row] is None)


class _Images:
    """The images of rows that are asked for in their order: one by one, or in batches where Arrow alone reads them."""

    def __init__(
        self, table: ParquetTable, column: Column, max_bytes: int, firsts: list[int], place: Place | None
    ) -> None:
        self._table, self._column, self._max_bytes, self._firsts = table, column, max_bytes, firsts
        self._rows = Rows(table, max_bytes, in_order=True)
        self._group, self._begins = -1, place
        self._values: Values | None = None

    def read(self, group: int, row: int) -> tuple[Place | None, bytes]:
        """The image of a row of a group, and where it is, if the group need not be read from its beginning.

        Raises:
            ValueError, OSError, pa.ArrowException: as `Rows.image`.
        """
        if group != self._group:
            self._group, self._values = group, None
            self._values = self._table.values(group, self._column, self._begins_in(group))
        while (values := self._values) and values.row <= row:
            before = values.row
            try:
                place, image = values.place(), values.next()
            except UnusualPageError:
                self._values = values if values.row > before else None
                continue
            except Exception:  # noqa: BLE001 - Arrow may read it, or knows what is wrong with it.
                self._values = None
                break
            if before == row:
                return place._replace(row=row + self._firsts[group]), bounded_bytes(image, self._max_bytes)
        return None, self._rows.image(group, row, self._column.name)

    def _begins_in(self, group: int) -> Place | None:
        """The place where reading begins, if it is in a group, by its row there."""
        first, place = self._firsts[group], self._begins
        return place._replace(row=place.row - first) if place and first <= place.row < self._firsts[group + 1] else None
