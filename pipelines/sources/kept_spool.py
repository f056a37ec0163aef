"""Values of kept columns while a corpus is listed: on this machine's disk, so that memory holds a number for each row.

They are read at any place, as shards are made of rows from everywhere.
"""

import os
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from beamscribe.schemas.kept_columns import UNREAD

ROWS_HELD, BYTES_HELD = 2**16, 2**25
"""Of a batch on the disk: in memory until there are so many."""

TABLE_NUMBERS = 2**40
"""Of each table, as many as no table has rows: several are read side by side, and their rows are counted last."""

TEXT, JSON, TABLE = "text", "json", "table"
"""Whose values they are: CSV's; JSON as text, until its types are known; those of a table in the types that it has."""


class Taken(NamedTuple):
    """Rows of one kind.

    Attributes:
        order: (count,) places of them among the rows that were asked for.
        form: one of the constants above.
        rows: their values.
    """

    order: np.ndarray
    form: str
    rows: pa.RecordBatch


class _File:
    """Batches of one schema, in a file that is gone with this process."""

    def __init__(self, schema: pa.Schema) -> None:
        descriptor, self._path = tempfile.mkstemp(prefix="beamscribe-kept-")
        os.close(descriptor)
        self._writer: Any = pa.ipc.new_file(self._path, schema)
        self._reader: Any = None
        self._batches = 0

    def append(self, batch: pa.RecordBatch) -> int:
        self._writer.write_batch(batch)
        self._batches += 1
        return self._batches - 1

    def end(self) -> None:
        self._writer.close()
        self._reader = pa.ipc.open_file(pa.memory_map(self._path))
        # What is mapped stays until the process ends, however it does.
        os.unlink(self._path)

    def batch(self, number: int) -> pa.RecordBatch:
        found: pa.RecordBatch = self._reader.get_batch(number)
        return found


class _Place(NamedTuple):
    """Where rows are that follow each other: the number of the first, and a batch of a file."""

    start: int
    form: str
    file: _File
    batch: int


class _Run:
    """Rows that get one number after the other, on their way to the disk."""

    def __init__(self, spool: "KeptSpool", first: int) -> None:
        self.next = first
        self._spool, self._start = spool, first
        self._key: tuple[str, pa.Schema] | None = None
        self._texts: list[Sequence[str | None]] = []
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def add_texts(self, form: str, schema: pa.Schema, values: Sequence[str | None]) -> None:
        self._begin(form, schema)
        self._texts.append(values)
        self._added(1, sum(map(len, filter(None, values))))

    def add_rows(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        self._begin(TABLE, batch.schema)
        self._held.append(batch)
        self._added(batch.num_rows, batch.nbytes)

    def _begin(self, form: str, schema: pa.Schema) -> None:
        if self._key is not None and (self._key[0] != form or not self._key[1].equals(schema)):
            self.flush()
        self._key = (form, schema)

    def _added(self, rows: int, size: int) -> None:
        self.next += rows
        self._bytes += size
        if self.next - self._start >= ROWS_HELD or self._bytes >= BYTES_HELD:
            self.flush()

    def flush(self) -> None:
        if self._key is None or self.next == self._start:
            return
        form, schema = self._key
        if self._texts:
            columns = zip(*self._texts, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        else:
            batch = pa.Table.from_batches(self._held, schema).combine_chunks().to_batches()[0]
        self._spool.write(self._start, form, batch)
        self._texts, self._held, self._bytes, self._start = [], [], 0, self.next


class KeptSpool:
    """Rows of values, each with a number; tables may be added in several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, pa.Schema], _File] = {}
        self._places: list[_Place] = []
        self._starts = np.array([], np.int64)
        self._tables = 0
        self._texts = _Run(self, 0)

    def add_texts(self, form: str, schema: pa.Schema, values: Sequence[str | None]) -> int:
        """Adds a row of texts, and gives its number.

        Args:
            form: `TEXT` or `JSON`.
            schema: of texts.
            values: a text for each column, or null.
        """
        self._texts.add_texts(form, schema, values)
        return self._texts.next - 1

    def add_table(self, rows: Iterable[pa.RecordBatch]) -> int:
        """Adds the rows of a table, and gives the number of the first; no other row has the numbers behind its last."""
        with self._lock:
            self._tables += 1
            first = self._tables * TABLE_NUMBERS
        run = _Run(self, first)
        for batch in rows:
            run.add_rows(batch)
        run.flush()
        return first

    def write(self, start: int, form: str, batch: pa.RecordBatch) -> None:
        """Writes rows that follow each other.

        Args:
            start: number of the first.
            form: one of the constants above.
            batch: their values.
        """
        with self._lock:
            key = (form, batch.schema)
            file = self._files.get(key)
            if file is None:
                file = self._files[key] = _File(batch.schema)
            self._places.append(_Place(start, form, file, file.append(batch)))

    def end(self) -> None:
        """Nothing more comes: from here on rows can be taken."""
        self._texts.flush()
        self._places.sort(key=lambda place: place.start)
        self._starts = np.array([place.start for place in self._places], np.int64)
        for file in self._files.values():
            file.end()

    def take(self, numbers: np.ndarray) -> list[Taken]:
        """Rows of some numbers, as far as there are such rows.

        Args:
            numbers: (count,) integers.
        """
        places = np.searchsorted(self._starts, numbers, side="right") - 1
        found = []
        for number in np.unique(places[places >= 0]):
            place = self._places[number]
            batch = place.file.batch(place.batch)
            order = np.flatnonzero((places == number) & (numbers < place.start + batch.num_rows))
            if len(order):
                found.append(Taken(order, place.form, batch.take(pa.array(numbers[order] - place.start))))
        return found


def unread_of(rows: pa.RecordBatch) -> list[bool]:
    """Of each row whether one of its values could not be read."""
    if UNREAD not in rows.schema.names:
        return [False] * rows.num_rows
    found: list[bool] = rows.column(UNREAD).to_pylist()
    return found


def text_schema(columns: Mapping[str, Any] | Sequence[str]) -> pa.Schema:
    """A schema of texts."""
    return pa.schema([pa.field(name, pa.large_string()) for name in columns])
