"""Reads rows that Beamscribe wrote back from Parquet, written by any program: a file that is damaged, foreign, newer
or far larger in memory than on disk is refused, without a crash and within a bound of memory."""

import io
from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beamscribe.schemas.kept_columns import is_kept
from beamscribe.schemas.table import NewerSchemaError, check_version, schema_version

MAX_BYTES = 2**30
"""Bytes that the columns of one file take in memory at most; a shard's rows have some megabytes."""

MAX_ROWS = 2**24
"""Rows of one file at most: without any bytes a row still takes some memory."""

BATCH_ROWS = 2**13

_THRIFT = 2**26
"""Bytes and elements of a footer."""


def read_stored(
    data: bytes,
    name: str,
    schema: pa.Schema,
    version: int,
    columns: Sequence[str] | None = None,
    newer: Collection[str] = (),
) -> pa.Table:
    """The rows of a file in the types of a schema.

    Args:
        data: the file.
        name: of it, for people.
        schema: that Beamscribe writes.
        version: newest schema version that the reader knows.
        columns: to be read; by default all.
        newer: further columns, which files of older versions lack: they come as nulls, as do those columns of `columns`
            that the schema permits to be null.

    Raises:
        NewerSchemaError: if a newer Beamscribe wrote it.
        ValueError: if the file is damaged or foreign, or its rows would not fit into `MAX_BYTES`.
    """
    try:
        file = _open(data)
        found = file.schema_arrow
        check_version(name, schema_version(found), version)
        wanted = order = list(columns or schema.names)
        newer = [*newer, *(column for column in wanted if schema.field(column).nullable)]
        wanted = [column for column in wanted if column not in newer]
        missing = [column for column in wanted if column not in found.names]
        if missing:
            raise ValueError(f"{name} has no column {', '.join(sorted(missing))}: it is another kind of file")
        lacking = [column for column in newer if column not in found.names]
        wanted += [column for column in newer if column not in lacking]
        twice = [column for column in wanted if found.names.count(column) > 1]
        if twice:
            raise ValueError(f"{name} has more than one column {twice[0]}: it is another kind of file")
        table = _typed(_read(data, file, wanted, name), schema, name)
    except NewerSchemaError:
        raise
    except (pa.ArrowException, OSError, MemoryError, OverflowError) as error:
        raise ValueError(
            f"{name} is not readable Parquet: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    for column in lacking:
        table = table.append_column(column, pa.nulls(len(table), schema.field(column).type))
    return table.select([*order, *(column for column in newer if column not in order)])


def _open(data: bytes, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    return pq.ParquetFile(
        io.BytesIO(data),
        read_dictionary=list(dictionaries) or None,
        thrift_string_size_limit=_THRIFT,
        thrift_container_size_limit=_THRIFT,
    )


def _read(data: bytes, file: pq.ParquetFile, columns: list[str], name: str) -> pa.Table:
    """The columns, texts kept as dictionaries until it is known what they would take."""
    # What a footer says of each column chunk is not looked at: pyarrow 25 ends the process where that is damaged.
    if not 0 <= file.metadata.num_rows <= MAX_ROWS:
        raise ValueError(f"{name} says that it has {file.metadata.num_rows} rows, more than {MAX_ROWS}")
    leaves = [file.schema.column(number) for number in range(len(file.schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    batches, size = [], 0
    for batch in _open(data, texts).iter_batches(BATCH_ROWS, columns=columns):
        batch.validate(full=True)
        size += sum(map(_size_of, batch.columns))
        if size > MAX_BYTES:
            raise _too_large(name)
        batches.append(batch)
    found = file.schema_arrow
    return pa.Table.from_batches(batches) if batches else found.empty_table().select(columns)


def _too_large(name: str) -> ValueError:
    return ValueError(f"{name} would take more than {MAX_BYTES} bytes of memory, which no file of rows does")


def _size_of(array: pa.Array) -> int:
    """Bytes of an array once its dictionaries are written out."""
    if pa.types.is_dictionary(array.type):
        lengths = pc.binary_length(array.dictionary).take(array.indices)  # pyright: ignore[reportAttributeAccessIssue]
        return pc.sum(lengths.cast(pa.int64())).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
    if pa.types.is_nested(array.type):
        return sum(map(_size_of, _children(array)))
    return array.nbytes


def _children(array: pa.Array) -> Iterable[pa.Array]:
    return array.flatten() if pa.types.is_struct(array.type) else (array.flatten(),)


def _typed(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The table in the types of the schema, which has no nulls but where it says so."""
    columns = {}
    for column in table.column_names:
        field = schema.field(column)
        # What others wrote may hold nulls anywhere.
        for where in [] if is_kept(field) else _nulls(table.column(column), field, column):
            raise ValueError(f"{name} has a row without {where}: it is damaged, or another program wrote it")
        columns[column] = table.column(column).cast(field.type)
    return pa.table(
        columns, schema=pa.schema([schema.field(column) for column in columns], metadata=table.schema.metadata)
    )


def _nulls(column: pa.ChunkedArray, field: pa.Field, path: str) -> Iterator[str]:
    """Where nulls are that the schema does not permit; lists of Beamscribe hold none."""
    if column.null_count and not field.nullable:
        yield path
        return
    for piece in column.chunks:
        if pa.types.is_list(piece.type) and pa.types.is_list(field.type):
            items = piece.flatten()
            inner = field.type.value_field.with_nullable(False)
            yield from _nulls(pa.chunked_array([items], items.type), inner, path)
        elif pa.types.is_struct(piece.type) and pa.types.is_struct(field.type):
            for number, child in enumerate(piece.flatten()):
                of = piece.type.field(number).name
                if (place := field.type.get_field_index(of)) >= 0:
                    yield from _nulls(pa.chunked_array([child], child.type), field.type.field(place), f"{path}.{of}")
