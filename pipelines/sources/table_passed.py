"""A Parquet table gone through from one of its rows on: what its rows are, as a listing tells it, and their images."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.columns import Column, Columns
from beamscribe.pipelines.sources.parquet_table import ParquetTable
from beamscribe.pipelines.sources.table_rows import Part, Rows, described, list_rows


class Spans(NamedTuple):
    """Which bytes of a file are going to be read.

    Attributes:
        spans: first byte and number of bytes of each part, as the file's metadata says.
    """

    spans: list[tuple[int, int]]


def pass_rows(
    table: ParquetTable, asked: Columns, begins: int, listed_bytes: int, max_bytes: int
) -> Iterator[Column | Spans | Part | bytes | str]:
    """The rows of a table from one on, each image behind the part that names its row.

    Args:
        table: which one.
        asked: its columns, of which none is one of ids.
        begins: number of the first row.
        listed_bytes: of an image beyond which a listing says that its row cannot be used.
        max_bytes: of an image that is read.

    Yields:
        First the column of images or of their names, and what will be read; then parts of rows, behind each of them for
        each row that `holds` its image bytes, or why there are none.

    Raises:
        ColumnError: see `beamscribe.pipelines.sources.columns.choose`.
        pa.ArrowException: if it is damaged; what came before is as it is.
    """
    groups = list(table.groups([]))
    ends = list(itertools.accumulate(groups))
    first = next((number for number, end in enumerate(ends) if end > begins), len(groups))
    place = ends[first - 1] if first else 0
    rows = Rows(table, max_bytes, in_order=True)
    name = ""
    for part in list_rows(table, asked, listed_bytes, (first, len(groups) - first), begins - place):
        yield part
        if isinstance(part, Column):
            name = part.name
            yield Spans(table.spans(range(first, len(groups)), part, begins - place))
            continue
        for row in range(part.rows):
            if not holds(part, row):
                continue
            try:
                yield rows.image(part.group, part.first + row, name)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's row brings about is its own failure
                yield described(error)


def holds(part: Part, row: int) -> bool:
    """Whether a row of a part holds an image that can be asked for.

    Args:
        part: of a table.
        row: in the part.
    """
    return not part.damage and row not in part.problems and (part.names is None or part.names[row] is None)
