"""What Parquet and Arrow tables have in common: rows in groups, which are read in batches of bounded memory.

What a damaged or hostile file makes Arrow do is not known: `beamscribe.pipelines.sources.table_process` has it read in
a process of its own.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Protocol

import pyarrow as pa

from beamscribe.pipelines.sources.columns import Column

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc", ".arrows")

MOST_CURSORS = 4
"""Readers that go forward in one table: shards in hand side by side read it at different rows."""

READ_BYTES = 2**19
"""That are asked for at once of a file elsewhere; see `forward_reads` for what is read ahead of them."""

Source = Callable[[int, int], bytes]
"""Reads some bytes of a file from a position on, which are in the file."""


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

    def batches(self, group: int, columns: Sequence[str], rows: int, begins: int = 0) -> Iterator[pa.RecordBatch]:
        """Rows of a group in order.

        Args:
            group: which one.
            columns: names with dots, of which all others may be left out.
            rows: of a batch at most, unless they are in memory anyway.
            begins: the first row in the group.
        """
        ...

    def needed(self, group: int, column: Column) -> str:
        """The name of what has to be read for the images of a group: not their names too where all have bytes."""
        ...

    def row_bytes(self, group: int, column: Column) -> int:
        """Bytes of a row on average."""
        ...

    def nulls(self, group: int, column: Column) -> int | None:
        """How many images of a column of structs have no bytes, if that can be told without reading them."""
        ...


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


def is_table(name: str) -> bool:
    """Whether a file is a table by its name."""
    return name.lower().endswith(PARQUET_SUFFIXES + ARROW_SUFFIXES)


def from_row(begins: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches without their first rows.

    Args:
        begins: the first row that is wanted.
        batches: of rows that follow each other.
    """
    for batch in batches:
        if begins < batch.num_rows:
            yield batch.slice(begins) if begins else batch
        begins = max(0, begins - batch.num_rows)


def opened(source: Source, size: int) -> IO[bytes]:
    """A file to seek in, of which larger pieces are asked for than are read.

    Args:
        source: reads its bytes.
        size: in bytes.
    """
    return io.BufferedReader(_SourceFile(source, size), READ_BYTES)


class _SourceFile(io.RawIOBase):
    def __init__(self, source: Source, size: int) -> None:
        self._source, self._size, self._position = source, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"no position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._size - self._position))
        if not wanted:
            return 0
        data = self._source(self._position, wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
