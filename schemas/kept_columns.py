"""Columns of a source that are kept in the rows of captions: their fields, and the values of a row.

The values of a row are an Arrow record batch of one row, so that they stay what they were to the last bit.
"""

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from beamscribe.schemas.conversion import as_array, text_of
from beamscribe.schemas.keep import INTEGERS
from beamscribe.schemas.python_values import python_values

DETAIL = "kept_columns"
"""Entry of a manifest's details: the fields, see `to_text`."""

UNREAD = "beamscribe.unread"
"""A further column of a row's values: whether one of them could not be read or was none of its column's type."""

REPAIR = "kept-value-null"
"""In the repairs of such a row."""

_MARK = b"beamscribe.kept"

DECLARED = {
    "string": pa.string(),
    **{name: getattr(pa, name)() for name in INTEGERS},
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""Types that `--keep-columns` may declare."""


class UnkeptTypeError(ValueError):
    """Values of a type are not kept."""


def kept_type(dtype: pa.DataType) -> pa.DataType:
    """The type in which values of a source's column are kept: the same, but for what only says how they are stored.

    Raises:
        UnkeptTypeError: if they are not kept, as images are not.
    """
    types = pa.types
    if isinstance(dtype, pa.BaseExtensionType):
        return kept_type(dtype.storage_type)
    if types.is_dictionary(dtype) or types.is_run_end_encoded(dtype):
        return kept_type(dtype.value_type)
    if types.is_null(dtype) or types.is_string_view(dtype):
        return pa.string()
    if types.is_date64(dtype):
        return pa.date32()
    if types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype):
        inner = kept_type(dtype.value_type)
        return pa.large_list(inner) if types.is_large_list(dtype) else pa.list_(inner)
    if types.is_struct(dtype) and dtype.num_fields and len({field.name for field in dtype}) == dtype.num_fields:
        return pa.struct([pa.field(field.name, kept_type(field.type)) for field in dtype])
    plain = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_temporal)
    text = types.is_string(dtype) or types.is_large_string(dtype)
    if text or (any(is_one(dtype) for is_one in plain) and not types.is_interval(dtype)):
        return dtype
    raise UnkeptTypeError(f"holds {str(dtype)[:80]}: numbers, texts, times, and lists and structs of them are kept")


def kept_field(column: str, dtype: pa.DataType, source: str) -> pa.Field:
    """The field of a column.

    Args:
        column: its name.
        dtype: its type.
        source: its name in the source.
    """
    metadata = {"description": f"The column {source} of the source", _MARK: source}
    return pa.field(column, dtype, nullable=True, metadata=metadata)


def is_kept(field: pa.Field) -> bool:
    """Whether a column of a schema is one that is kept."""
    return _MARK in (field.metadata or {})


def kept_of(schema: pa.Schema) -> pa.Schema:
    """The kept columns of a schema."""
    return pa.schema([field for field in schema if is_kept(field)])


def with_kept(schema: pa.Schema, kept: pa.Schema) -> pa.Schema:
    """A schema with kept columns behind its own."""
    for field in kept:
        schema = schema.append(field)
    return schema


def shown(kept: pa.Schema) -> str:
    """Names and types, as a fingerprint tells them."""
    return ",".join(
        f"{'' if (source := field.metadata[_MARK].decode()) == field.name else f'{field.name}='}{source}:{field.type}"
        for field in kept
    )


def to_text(kept: pa.Schema) -> str:
    """Fields as a text that a manifest can hold."""
    return base64.b64encode(kept.serialize().to_pybytes()).decode()


def from_details(details: Mapping[str, Any]) -> pa.Schema:
    """The kept columns of an output, from the details of its manifest.

    Raises:
        ValueError: if they are damaged.
    """
    if not details.get(DETAIL):
        return pa.schema([])
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(details[DETAIL])))
    except (pa.ArrowException, TypeError, ValueError, OSError) as error:
        raise ValueError(f"its manifest is damaged where it tells its kept columns: {error}") from error


def row_of(values: Mapping[str, Any], kept: pa.Schema, unread: bool = False) -> pa.RecordBatch:
    """The values of one row.

    Args:
        values: of columns by name, as `beamscribe.schemas.conversion.converted` takes them; others are null.
        kept: the columns.
        unread: whether one could not be read.
    """
    columns = []
    for field in kept:
        array, wrong = as_array([values.get(field.name)], field.type)
        columns.append(array)
        unread = unread or wrong[0]
    return pa.RecordBatch.from_arrays([*columns, pa.array([unread])], schema=_with_unread(kept))


def null_row(kept: pa.Schema, unread: bool = False) -> pa.RecordBatch:
    """A row of nulls."""
    return row_of({}, kept, unread)


def _with_unread(kept: pa.Schema) -> pa.Schema:
    return kept.append(pa.field(UNREAD, pa.bool_()))


def is_unread(row: pa.RecordBatch | None) -> bool:
    """Whether a value of a row could not be read."""
    return row is not None and UNREAD in row.schema.names and bool(row.column(UNREAD)[0].as_py())


def texts_of(row: pa.RecordBatch | None) -> dict[str, str]:
    """The values of a row as texts, empty for null."""
    if row is None:
        return {}
    fields = (field for field in row.schema if field.name != UNREAD)
    return {field.name: text_of(python_values(row.column(field.name))[0]) for field in fields}


def as_columns(rows: Sequence[pa.RecordBatch | None], kept: pa.Schema) -> list[pa.ChunkedArray]:
    """Columns of many rows.

    Args:
        rows: values, or None where there are none.
        kept: the columns, in their order.
    """
    known = next((row.schema for row in rows if row is not None), None)
    if known is None:
        return [pa.chunked_array([pa.nulls(len(rows), field.type)]) for field in kept]
    null = functools.cache(lambda: pa.RecordBatch.from_pylist([{}], known))
    table = pa.Table.from_batches([null() if row is None else row for row in rows], known).combine_chunks()
    return [
        table[field.name].cast(field.type)
        if field.name in known.names
        else pa.chunked_array([pa.nulls(len(rows), field.type)])
        for field in kept
    ]


def packed(rows: Sequence[pa.RecordBatch | None]) -> str:
    """Rows of values as a text that travels with a shard; empty if there are none."""
    known = next((row.schema for row in rows if row is not None), None)
    if known is None:
        return ""
    null = pa.RecordBatch.from_pylist([{}], known)
    table = pa.Table.from_batches([null if row is None else row for row in rows], known).combine_chunks()
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, known, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return base64.b64encode(buffer.getvalue()).decode()


def unpacked(text: str) -> list[pa.RecordBatch]:
    """Rows of values back.

    Raises:
        ValueError: if the text is damaged.
    """
    try:
        table = pa.ipc.open_stream(base64.b64decode(text)).read_all().combine_chunks()
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ValueError(f"its kept columns cannot be read: {error}") from error
    return [batch.slice(row, 1) for batch in table.to_batches() for row in range(batch.num_rows)]
