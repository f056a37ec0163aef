"""Columns of text in a table, such as the captions that others wrote."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from beamscribe.pipelines.sources.cells import cell_of, id_of
from beamscribe.pipelines.sources.columns import ID_COLUMN, ColumnError, id_place, text_column
from beamscribe.pipelines.sources.table_rows import LISTED_ROWS, check_count, validated, value_of
from beamscribe.pipelines.sources.tables import Table


def texts(table: Table, wanted: Sequence[str], optional: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of some columns of text, in parts.

    Args:
        table: with these columns.
        wanted: names of columns that must be there.
        optional: names of those that need not; of `id` integers are text too.

    Yields:
        First the "metadata" of the table's schema and the "names" of the columns that are there; then parts: "rows", a
        list of values for each name, "" for null, and "problems", by place in the part why a row cannot be used.

    Raises:
        ColumnError: if a column is missing or is no text.
        pa.ArrowException: if the table is damaged.
    """
    schema = table.schema
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise ColumnError(f"has no column {', '.join(missing)}")
    names = [*wanted, *(name for name in optional if name in schema.names)]
    takers = {name: _taker(schema, name) for name in names}
    metadata = {_plain(key): _plain(value) for key, value in (schema.metadata or {}).items() if len(value) < 1000}
    yield {"metadata": metadata, "names": names}
    for group, promised in enumerate(table.groups(names)):
        found = 0
        for batch in table.batches(group, names, LISTED_ROWS):
            arrays = {name: validated(batch.column(batch.schema.get_field_index(name))) for name in names}
            for start in range(0, batch.num_rows, LISTED_ROWS):
                rows = range(start, min(start + LISTED_ROWS, batch.num_rows))
                problems: dict[int, str] = {}
                values = {
                    name: [value_of(row, *arrays[name], takers[name], "", problems) for row in rows] for name in names
                }
                yield {"rows": values, "problems": {row - start: why for row, why in problems.items()}}
            found += batch.num_rows
        check_count(found, promised)


def _taker(schema: pa.Schema, name: str) -> Callable[[pa.Scalar], str]:
    if name == ID_COLUMN:
        id_place(schema, name)
        return id_of
    column = text_column(schema, name)
    return lambda scalar: cell_of(scalar, column, 0).name or ""


def _plain(data: bytes) -> str:
    return data.decode("utf-8", "replace")
