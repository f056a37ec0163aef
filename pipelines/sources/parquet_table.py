"""Parquet files: their row groups in batches of bounded memory, from any of their rows on."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.pipelines.sources.columns import BYTES, IMAGE, Column
from beamscribe.pipelines.sources.parquet_values import SNAPPY, STORED, Chunk, Place, Values
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
        # Without a buffer whole column chunks are read at once, however large.
        self._file = pq.ParquetFile(
            self._open(),
            buffer_size=BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
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
        """As `Table`."""
        found = self._file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)
        return from_row(begins, found)

    def values(self, group: int, column: Column, place: Place | None = None) -> Values | None:
        """The images of a group one by one, without its pages being held; None: only batches of it can be read.

        Args:
            group: number of the row group.
            column: of images.
            place: of one of them, by its row in the group; the first by default.
        """
        places = self._places(group, self.needed(group, column))
        if len(places) != 1 or column.kind not in (BYTES, IMAGE):
            return None
        found, leaf = self._file.metadata.row_group(group).column(places[0]), self._file.schema.column(places[0])
        nulls = found.statistics.null_count if found.statistics and found.statistics.has_null_count else None
        if (leaf.physical_type, leaf.max_repetition_level, nulls) != ("BYTE_ARRAY", 0, 0):
            return None
        # Arrow takes columns by their number.
        if leaf.path != found.path_in_schema:
            return None
        begin = _first_byte(found)
        if found.compression not in (STORED, SNAPPY) or begin < 0:
            return None
        end = min(begin + found.total_compressed_size, self._size)
        chunk = Chunk(begin, end, found.compression, leaf.max_definition_level)
        return Values(self._open(), chunk, place)

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

    def spans(self, groups: Iterable[int], column: Column, begins: int = 0) -> list[tuple[int, int]]:
        """First byte and number of bytes of what is read for the images of groups, as the metadata says, which may lie.

        Args:
            groups: numbers of row groups.
            column: of images.
            begins: a byte, if those of the first group which are before it are not read.
        """
        chunks = [one for group in groups for one in self._chunks(group, self.needed(group, column))]
        found = [(_first_byte(one), one.total_compressed_size) for one in chunks]
        if begins and found:
            start, size = found[0]
            found[0] = begins, start + size - begins
        return found

    def _open(self) -> Any:
        return pa.OSFile(self._source) if isinstance(self._source, str) else opened(self._source, self._size)

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
