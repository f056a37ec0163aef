"""Parquet and Arrow tables: their rows in batches of bounded memory, validated before anything is taken from them.

Nothing here asks for more memory than a batch needs, but what a damaged or hostile file makes Arrow do is not known:
`beamscribe.pipelines.sources.table_process` calls this in a process of its own.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.pipelines.sources.columns import IMAGE, Column

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc", ".arrows")

MOST_CURSORS = 4
"""Readers that go forward in one table: shards in hand side by side read it at different rows."""

BUFFER_BYTES = 2**18


class DamagedTableError(ValueError):
    """A table is not as its format wants it."""


class Table(Protocol):
    """A file of rows."""

    schema: pa.Schema

    @property
    def largest_chunk(self) -> int:
        """Bytes in the file of what must be read at once, at most."""
        ...

    def groups(self, columns: Sequence[str]) -> Iterator[int]:
        """Rows of each row group or batch; raises what is wrong with the file where it ends early.

        Args:
            columns: names with dots, of which all others need not be looked at.
        """
        ...

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Rows of a group in order.

        Args:
            group: which one.
            columns: names with dots, of which all others may be left out.
            rows: of a batch at most, unless they are in memory anyway.
        """
        ...

    def row_bytes(self, group: int, column: Column) -> int:
        """Bytes of a row on average."""
        ...

    def nulls(self, group: int, column: Column) -> int | None:
        """How many images of a column of structs have no bytes, if that can be told without reading them."""
        ...


class ParquetTable:
    """A Parquet file.

    Attributes:
        schema: of its rows.
    """

    def __init__(self, source: str | IO[bytes], size: int) -> None:
        """Opens a file, of which its metadata is read.

        Args:
            source: a local path, or a file.
            size: in bytes.

        Raises:
            DamagedTableError: if it promises more rows than there can be.
        """
        opened = pa.OSFile(source) if isinstance(source, str) else source
        # Without a buffer whole column chunks are read at once, however large.
        self._file = pq.ParquetFile(opened, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
        self.schema: pa.Schema = self._file.schema_arrow
        metadata = self._file.metadata
        self._rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        check_rows(sum(self._rows) if min(self._rows, default=0) >= 0 else -1, size)

    @property
    def largest_chunk(self) -> int:
        """Bytes in the file of the largest column of a row group: an honest page of it needs no more."""
        metadata = self._file.metadata
        return max(
            (
                metadata.row_group(group).column(column).total_compressed_size
                for group in range(metadata.num_row_groups)
                for column in range(metadata.num_columns)
            ),
            default=0,
        )

    def groups(self, columns: Sequence[str]) -> Iterator[int]:
        """As `Table`."""
        return iter(self._rows)

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """As `Table`."""
        return self._file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)

    def row_bytes(self, group: int, column: Column) -> int:
        """As `Table`."""
        chunks = self._chunks(group, column.name)
        return sum(chunk.total_uncompressed_size for chunk in chunks) // max(1, self._rows[group])

    def nulls(self, group: int, column: Column) -> int | None:
        """As `Table`."""
        if column.kind != IMAGE or not column.flat:
            return None if column.kind == IMAGE else 0
        chunks = self._chunks(group, f"{column.name}.bytes")
        found = [chunk.statistics for chunk in chunks]
        if len(found) != 1 or found[0] is None or not found[0].has_null_count:
            return None
        return found[0].null_count

    def spans(self, groups: Iterable[int], columns: Sequence[str]) -> list[tuple[int, int]]:
        """First byte and number of bytes of each chunk of some columns, as the metadata says, which may lie.

        Args:
            groups: numbers of row groups.
            columns: names with dots.
        """
        chunks = (chunk for group in groups for name in columns for chunk in self._chunks(group, name))
        return [(_first_byte(chunk), chunk.total_compressed_size) for chunk in chunks]

    def _chunks(self, group: int, name: str) -> list[Any]:
        row_group = self._file.metadata.row_group(group)
        columns = (row_group.column(place) for place in range(row_group.num_columns))
        return [one for one in columns if one.path_in_schema == name or one.path_in_schema.startswith(f"{name}.")]


def _first_byte(chunk: Any) -> int:
    first = chunk.dictionary_page_offset
    return min(first, chunk.data_page_offset) if first else chunk.data_page_offset


class ArrowTable:
    """An Arrow file, or a stream as Hugging Face `datasets` keeps them.

    Attributes:
        schema: of its rows.
    """

    def __init__(self, source: str | IO[bytes], size: int) -> None:
        """Opens a file, of which nothing but its schema is read.

        Args:
            source: a local path, which is mapped to memory, or a file.
            size: in bytes.
        """
        self._source, self._size = source, size
        self._streams: collections.deque[_Stream] = collections.deque(maxlen=MOST_CURSORS)
        try:
            file = pa.ipc.open_file(self._opened())
            self.schema: pa.Schema = file.schema
            self._batches: int | None = file.num_record_batches
        except pa.ArrowInvalid:
            self.schema = pa.ipc.open_stream(self._opened()).schema
            self._batches = None

    def _opened(self) -> Any:
        if isinstance(self._source, str):
            return pa.memory_map(self._source)
        self._source.seek(0)
        return self._source

    def groups(self, columns: Sequence[str]) -> Iterator[int]:
        """As `Table`."""
        total = 0
        for number in itertools.count() if self._batches is None else range(self._batches):
            batch = self._batch(number, columns)
            if batch is None:
                return
            total += batch.num_rows
            check_rows(total, self._size)
            yield batch.num_rows

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """As `Table`."""
        batch = self._batch(group, columns)
        if batch is None:
            raise DamagedTableError("it has fewer batches than were listed")
        yield batch

    def _batch(self, group: int, columns: Sequence[str]) -> pa.RecordBatch | None:
        """Some columns of a batch; None behind the last one of a stream."""
        places = sorted({top_place(self.schema, column) for column in columns})
        options = pa.ipc.IpcReadOptions(included_fields=places, use_threads=False)
        if self._batches is not None:
            if not 0 <= group < self._batches:
                return None
            return pa.ipc.open_file(self._opened(), options=options).get_batch(group)
        ready = [one for one in self._streams if one.places == places and one.following <= group]
        stream = max(ready, key=lambda one: one.following, default=None)
        if stream is None:
            stream = _Stream(places, iter(pa.ipc.open_stream(self._opened(), options=options)))
            self._streams.append(stream)
        return stream.batch(group)

    @property
    def largest_chunk(self) -> int:
        """Bytes in the file that a batch may have: as `ParquetTable`."""
        return self._size

    def row_bytes(self, group: int, column: Column) -> int:
        """As `Table`: batches are there whole."""
        return 1

    def nulls(self, group: int, column: Column) -> int | None:
        """As `Table`: looking is cheap."""
        return None if column.kind == IMAGE else 0


class _Stream:
    """Goes forward through the batches of a stream; keeps the latest, and an error where it was met."""

    def __init__(self, places: list[int], batches: Iterator[pa.RecordBatch]) -> None:
        self.places, self._batches = places, batches
        self._count = 0
        self._latest: pa.RecordBatch | None = None

    @property
    def following(self) -> int:
        """Batch from which on it can be asked."""
        return max(0, self._count - 1)

    def batch(self, number: int) -> pa.RecordBatch | None:
        while self._count <= number:
            self._latest = next(self._batches, None)
            self._count += 1
        return self._latest


def top_place(schema: pa.Schema, name: str) -> int:
    """The place of the column that is first in a dotted name."""
    return schema.get_field_index(name if name in schema.names else name.partition(".")[0])


def check_rows(rows: int, size: int) -> None:
    """Refuses what no honest file of its size promises, so that nobody counts to it.

    Raises:
        DamagedTableError: if there are too many rows, or fewer than none.
    """
    if not 0 <= rows <= 100_000 + 64 * size:
        raise DamagedTableError(f"it claims {rows} rows in {size} bytes")


def open_table(source: str | IO[bytes], name: str, size: int) -> ParquetTable | ArrowTable:
    """A table: Arrow if its name says so, else Parquet.

    Args:
        source: a local path, or a file to seek in.
        name: of the file.
        size: in bytes.
    """
    return (ArrowTable if name.lower().endswith(ARROW_SUFFIXES) else ParquetTable)(source, size)


def is_table(name: str) -> bool:
    """Whether a file is a table by its name."""
    return name.lower().endswith(PARQUET_SUFFIXES + ARROW_SUFFIXES)
