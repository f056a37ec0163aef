"""Parquet files: their row groups in batches of bounded memory, from any of their rows on."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.pipelines.sources.columns import IMAGE, Column
from beamscribe.pipelines.sources.parquet_pages import (
    HEADER_BYTES,
    MOST_PAGES,
    Page,
    PagesError,
    Skip,
    pages_of,
    skip_to,
    skipping,
)
from beamscribe.pipelines.sources.tables import Source, check_rows, from_row, opened

BUFFER_BYTES = 2**18


class ParquetTable:
    """A Parquet file.

    Attributes:
        schema: of its rows.
    """

    def __init__(self, source: str | Source, size: int) -> None:
        """Opens a file, of which its metadata is read.

        Args:
            source: a local path, or what reads a file.
            size: in bytes.

        Raises:
            DamagedTableError: if it promises more rows than there can be.
        """
        self._source, self._size = source, size
        self._file = self._reader(pa.OSFile(source) if isinstance(source, str) else opened(source, size))
        # Of the group that is read.
        self._pages: dict[tuple[int, int], list[Page]] = {}
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

    def batches(self, group: int, columns: Sequence[str], rows: int, begins: int = 0) -> Iterator[pa.RecordBatch]:
        """As `Table`; pages before the first row are not read where that can be told."""
        skip = self._skip(group, columns, begins) if begins else None
        file = self._file
        if skip:
            file = self._reader(opened(skipping(self._read, skip), self._size), file.metadata)
        found = file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)
        return from_row(begins - (skip.rows if skip else 0), found)

    def needed(self, group: int, column: Column) -> str:
        """As `Table`."""
        return f"{column.name}.bytes" if column.kind == IMAGE and self.nulls(group, column) == 0 else column.name

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

    def spans(self, groups: Iterable[int], column: Column, begins: int) -> list[tuple[int, int]]:
        """First byte and number of bytes of what is read for the images of groups, as the metadata says, which may lie.

        Args:
            groups: numbers of row groups.
            column: of images.
            begins: the first row in the first group.
        """
        found = []
        for group in groups:
            name = self.needed(group, column)
            skip = self._skip(group, [name], begins) if begins else None
            if skip:
                found.append((skip.end, skip.chunk_end - skip.end))
            else:
                found += [(_first_byte(one), one.total_compressed_size) for one in self._chunks(group, name)]
            begins = 0
        return found

    def _skip(self, group: int, columns: Sequence[str], begins: int) -> Skip | None:
        """What need not be read of a group for rows from one on, if that can be told."""
        row_group = self._file.metadata.row_group(group)
        places = [place for name in columns for place in self._places(group, name)]
        # Pages of several columns do not begin at the same rows.
        if len(places) != 1 or self._file.schema.column(places[0]).max_repetition_level:
            return None
        key, chunk = (group, places[0]), row_group.column(places[0])
        if key not in self._pages:
            self._pages.clear()
            begin = _first_byte(chunk)
            # Half of what is not read may be spent on looking.
            most = begins * chunk.total_compressed_size // max(1, self._rows[group]) // (2 * HEADER_BYTES)
            try:
                end = min(begin + chunk.total_compressed_size, self._size)
                self._pages[key] = pages_of(self._read, begin, end, min(most, MOST_PAGES))
            except PagesError:
                self._pages[key] = []
        return skip_to(begins, self._rows[group], self._pages[key])

    def _reader(self, file: Any, metadata: Any = None) -> pq.ParquetFile:
        # Without a buffer whole column chunks are read at once, however large.
        return pq.ParquetFile(
            file, metadata=metadata, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )

    def _read(self, position: int, size: int) -> bytes:
        """As `Source`."""
        if not isinstance(self._source, str):
            return self._source(position, size)
        with open(self._source, "rb") as file:
            file.seek(position)
            return file.read(size)

    def _chunks(self, group: int, name: str) -> list[Any]:
        return [self._file.metadata.row_group(group).column(place) for place in self._places(group, name)]

    def _places(self, group: int, name: str) -> list[int]:
        row_group = self._file.metadata.row_group(group)
        paths = ((place, row_group.column(place).path_in_schema) for place in range(row_group.num_columns))
        return [place for place, path in paths if path == name or path.startswith(f"{name}.")]


def _first_byte(chunk: Any) -> int:
    """As Arrow takes it: some writers say that a dictionary is where none is."""
    first = chunk.dictionary_page_offset
    return min(first, chunk.data_page_offset) if first is not None and first > 0 else chunk.data_page_offset
