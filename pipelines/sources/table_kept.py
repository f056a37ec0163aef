"""Columns of a table that are kept, in their types, row by row as the table lists them."""

import io
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from beamscribe.pipelines.sources.columns import ColumnError
from beamscribe.pipelines.sources.table_rows import LISTED_ROWS, check_count, some_groups, validated
from beamscribe.pipelines.sources.tables import Table
from beamscribe.schemas.kept_columns import UNREAD, UnkeptTypeError, kept_type

MOST_NAMES = 1000
"""Of columns that are told."""


def kept_batches(table: Table, names: Sequence[str], some: tuple[int, int] | None = None) -> Iterator[bytes]:
    """Rows of some columns, of which the table need not have all.

    What cannot be read is null, and the column `UNREAD` says so.

    Args:
        table: which one.
        names: of the columns.
        some: row groups, as `beamscribe.pipelines.sources.table_rows.list_rows` takes them.

    Yields:
        The names of the table's columns, as JSON; the schema of those that are there; then its rows in batches, each an
        Arrow stream.

    Raises:
        ColumnError: if one stands there more than once, or its values are not kept.
        pa.ArrowException: where the table ends early.
    """
    found = [name for name in names if name in table.schema.names]
    schema = pa.schema([pa.field(name, _type_of(table.schema, name)) for name in found])
    yield json.dumps(table.schema.names[:MOST_NAMES]).encode()
    yield schema.serialize().to_pybytes()
    for group, rows in some_groups(table, found, some):
        if not found:
            # That a table lacks all columns is no damage.
            yield from _null_streams(schema, rows, unread=False)
            continue
        done = 0
        try:
            for batch in table.batches(group, found, LISTED_ROWS):
                for start in range(0, batch.num_rows, LISTED_ROWS):
                    part = batch.slice(start, LISTED_ROWS)
                    yield _stream(_typed(part, schema))
                    done += part.num_rows
            check_count(done, rows)
        except Exception:  # noqa: BLE001 - whatever damage brings about costs only these rows.
            yield from _null_streams(schema, rows - done, unread=True)


def _type_of(schema: pa.Schema, name: str) -> pa.DataType:
    if schema.names.count(name) > 1:
        raise ColumnError(f"it has more than one column with the name {name}: give each a name of its own")
    dtype = schema.field(name).type
    try:
        return dtype if pa.types.is_null(dtype) else kept_type(dtype)
    except UnkeptTypeError as error:
        raise ColumnError(f"--keep-columns {name}: it {error}") from None


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns, unread = [], [False] * batch.num_rows
    for field in schema:
        array, wrong = validated(batch.column(batch.schema.get_field_index(field.name)))
        if wrong:
            pieces = [
                pa.nulls(1, field.type) if row in wrong else _plain(array.slice(row, 1), field.type)
                for row in range(len(array))
            ]
            columns.append(pa.concat_arrays(pieces))
            unread = [before or row in wrong for row, before in enumerate(unread)]
        else:
            columns.append(_plain(array, field.type))
    return pa.RecordBatch.from_arrays([*columns, pa.array(unread, pa.bool_())], schema=_with_unread(schema))


def _plain(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        return _plain(array.storage, dtype)
    if pa.types.is_dictionary(array.type):
        return _plain(array.dictionary_decode(), dtype)
    if pa.types.is_run_end_encoded(array.type):
        return _plain(pc.run_end_decode(array), dtype)  # pyright: ignore[reportAttributeAccessIssue]
    return array if array.type == dtype else array.cast(dtype)


def _null_streams(schema: pa.Schema, rows: int, unread: bool) -> Iterator[bytes]:
    for start in range(0, rows, LISTED_ROWS):
        count = min(LISTED_ROWS, rows - start)
        columns = [pa.nulls(count, field.type) for field in schema]
        yield _stream(pa.RecordBatch.from_arrays([*columns, pa.array([unread] * count)], schema=_with_unread(schema)))


def _with_unread(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field(UNREAD, pa.bool_()))


def _stream(batch: pa.RecordBatch) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, batch.schema) as writer:
        writer.write_batch(batch)
    return buffer.getvalue()
