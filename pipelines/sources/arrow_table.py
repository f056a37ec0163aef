"""Arrow files and streams: their batches, which are there whole."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from beamscribe.pipelines.sources.columns import IMAGE, Column
from beamscribe.pipelines.sources.tables import (
    MOST_CURSORS,
    DamagedTableError,
    Source,
    check_rows,
    from_row,
    opened,
    top_place,
)


class ArrowTable:
    """An Arrow file, or a stream as Hugging Face `datasets` keeps them.

    Attributes:
        schema: of its rows.
    """

    def __init__(self, source: str | Source, size: int) -> None:
        """Opens a file, of which nothing but its schema is read.

        Args:
            source: a local path, which is mapped to memory, or what reads a file.
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
        # Streams that are read side by side have a position each.
        return opened(self._source, self._size)

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

    def batches(self, group: int, columns: Sequence[str], rows: int, begins: int = 0) -> Iterator[pa.RecordBatch]:
        """As `Table`."""
        batch = self._batch(group, columns)
        if batch is None:
            raise DamagedTableError("it has fewer batches than were listed")
        yield from from_row(begins, iter((batch,)))

    def needed(self, group: int, column: Column) -> str:
        """As `Table`."""
        return column.name

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
