"""Values of kept columns while a corpus is listed: on this machine's disk, so that memory holds a number for each row.

They are written in the order of the rows and read at any place, as shards are made of rows from everywhere.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from beamscribe.schemas.kept_columns import UNREAD

ROWS_HELD, BYTES_HELD = 2**16, 2**25
"""Of a batch on the disk: in memory until there are so many."""

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


class KeptSpool:
    """Rows of values, numbered from 0 in the order in which they are added."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, pa.Schema], _File] = {}
        self._starts: list[int] = []
        self._places: list[tuple[str, _File, int]] = []
        self._key: tuple[str, pa.Schema] | None = None
        self._texts: list[Sequence[str | None]] = []
        self._held: list[pa.RecordBatch] = []
        self._bytes = self._rows = self._written = 0

    def __len__(self) -> int:
        return self._rows

    def add_texts(self, form: str, schema: pa.Schema, values: Sequence[str | None]) -> int:
        """Adds a row of texts, and gives its number.

        Args:
            form: `TEXT` or `JSON`.
            schema: of texts.
            values: a text for each column, or null.
        """
        self._begin(form, schema)
        self._texts.append(values)
        self._bytes += sum(map(len, filter(None, values)))
        self._rows += 1
        if len(self._texts) >= ROWS_HELD or self._bytes >= BYTES_HELD:
            self._flush()
        return self._rows - 1

    def add_rows(self, batch: pa.RecordBatch) -> None:
        """Adds rows of a table."""
        if not batch.num_rows:
            return
        self._begin(TABLE, batch.schema)
        self._held.append(batch)
        self._bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._rows - self._written >= ROWS_HELD or self._bytes >= BYTES_HELD:
            self._flush()

    def end(self) -> None:
        """Nothing more comes: from here on rows can be taken."""
        self._flush()
        for file in self._files.values():
            file.end()

    def take(self, numbers: np.ndarray) -> list[Taken]:
        """Rows at some places.

        Args:
            numbers: (count,) integers.
        """
        batches = np.searchsorted(self._starts, numbers, side="right") - 1
        found = []
        for place in np.unique(batches):
            order = np.flatnonzero(batches == place)
            form, file, number = self._places[place]
            rows = pa.array(numbers[order] - self._starts[place])
            found.append(Taken(order, form, file.batch(number).take(rows)))
        return found

    def _begin(self, form: str, schema: pa.Schema) -> None:
        if self._key is not None and (self._key[0] != form or not self._key[1].equals(schema)):
            self._flush()
        self._key = (form, schema)

    def _flush(self) -> None:
        if self._key is None or self._rows == self._written:
            return
        form, schema = self._key
        if self._texts:
            columns = zip(*self._texts, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        else:
            batch = pa.Table.from_batches(self._held, schema).combine_chunks().to_batches()[0]
        file = self._files.get(self._key)
        if file is None:
            file = self._files[self._key] = _File(schema)
        self._places.append((form, file, file.append(batch)))
        self._starts.append(self._written)
        self._texts, self._held, self._bytes, self._written = [], [], 0, self._rows


def unread_of(rows: pa.RecordBatch) -> list[bool]:
    """Of each row whether one of its values could not be read."""
    if UNREAD not in rows.schema.names:
        return [False] * rows.num_rows
    found: list[bool] = rows.column(UNREAD).to_pylist()
    return found


def text_schema(columns: Mapping[str, Any] | Sequence[str]) -> pa.Schema:
    """A schema of texts."""
    return pa.schema([pa.field(name, pa.large_string()) for name in columns])
