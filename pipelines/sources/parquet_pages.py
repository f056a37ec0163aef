"""The pages of a column chunk of a Parquet file, so that its reading can begin at one of them.

Arrow begins in the middle of a row group only by reading all that is before. A chunk is a sequence of pages, each
behind a header in Thrift's compact protocol that says how many bytes and values it has: see `PageHeader` in
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from typing import Any, NamedTuple

from beamscribe.pipelines.sources.tables import Source

HEADER_BYTES = 2**14
"""That are read to find a header: it may have the smallest and the largest value of its page."""

MOST_PAGES = 256
"""Of a chunk, beyond which it is read from its beginning: each header is asked for behind the one before."""

DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
PLAIN = 0

MOST_NESTED = 16

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class PagesError(ValueError):
    """The pages of a chunk are not told apart."""


class Page(NamedTuple):
    """A page of a chunk.

    Attributes:
        begin: first byte of its header in the file.
        end: behind its last byte.
        rows: that it holds; 0 of a dictionary.
        plain: whether its values are there as they are, not as numbers of those of the dictionary.
    """

    begin: int
    end: int
    rows: int
    plain: bool


class Skip(NamedTuple):
    """What need not be read of a chunk.

    Attributes:
        rows: in it.
        begin: its first byte in the file.
        end: behind its last byte.
        chunk_end: behind the last byte of the chunk.
    """

    rows: int
    begin: int
    end: int
    chunk_end: int


def skip_to(row: int, rows: int, pages: list[Page]) -> Skip | None:
    """What need not be read where rows from one on are wanted; None where all has to be.

    Args:
        row: the first one.
        rows: of the chunk, of which no value is a list.
        pages: of the chunk.
    """
    if sum(page.rows for page in pages) != rows:
        return None
    done, first = 0, 0
    for number, page in enumerate(pages):
        if done + page.rows > row:
            first = number
            break
        done += page.rows
    kept = pages[first:]
    # A dictionary is before the first page, where it is left out too.
    if not done or not all(page.plain for page in kept):
        return None
    return Skip(done, pages[0].begin, kept[0].begin, pages[-1].end)


def pages_of(source: Source, begin: int, end: int, most: int = MOST_PAGES) -> list[Page]:
    """The pages of a chunk, of each of which the header is read alone.

    Args:
        source: reads the file, no more of it than it is asked for.
        begin: first byte of the chunk.
        end: behind its last byte.
        most: pages.

    Raises:
        PagesError: if they are not told apart, or are more.
        OSError: if the file cannot be read.
    """
    pages: list[Page] = []
    if begin < 0:
        raise PagesError(f"no page begins at byte {begin}")
    while begin < end:
        if len(pages) == most:
            raise PagesError(f"it has more than {most} pages")
        data = source(begin, min(HEADER_BYTES, end - begin))
        try:
            header, size = _struct(data, 0, 0)
            packed, (rows, encoding) = header[3], _rows_and_encoding(header)
            following = begin + size + packed
        except (LookupError, TypeError, ValueError) as error:
            raise PagesError(f"no header of a page at byte {begin}: {type(error).__name__}") from error
        if not isinstance(rows, int) or packed < 0 or rows < 0 or following > end:
            raise PagesError(f"the header of a page at byte {begin} is not as the format wants it")
        pages.append(Page(begin, following, rows, encoding == PLAIN))
        begin = following
    return pages


def _rows_and_encoding(header: dict[int, Any]) -> tuple[int, int | None]:
    """Values of a page of which none is a list, and how they are encoded; of a dictionary no values."""
    if header[1] == DICTIONARY_PAGE:
        return 0, None
    if header[1] == DATA_PAGE:
        return header[5][1], header[5][2]
    if header[1] == DATA_PAGE_V2:
        return header[8][1], header[8][4]
    raise ValueError(f"no page of type {header[1]}")


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields of a struct by their number, and the place behind it; of texts and lists only that they are there."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[at]:
        at += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, at = _integer(data, at)
        fields[number], at = _value(data, at, kind & 15, depth + 1)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > MOST_NESTED:
        raise ValueError("it is nested too deeply")
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind in _INTEGERS:
        return _integer(data, at)
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        size, at = _varint(data, at)
        return None, at + size
    if kind == _STRUCT:
        return _struct(data, at, depth)
    if kind in (_LIST, _SET):
        size, kind, at = data[at] >> 4, data[at] & 15, at + 1
        if size == 15:
            size, at = _varint(data, at)
        if size > len(data) - at:
            raise ValueError("a list does not end")
        for _ in range(size):
            _, at = (None, at + 1) if kind in (_TRUE, _FALSE) else _value(data, at, kind, depth + 1)
        return None, at
    raise ValueError(f"no type {kind}")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return number, at
        if shift > 63:
            raise ValueError("a number has too many bytes")


def skipping(source: Source, skip: Skip) -> Source:
    """Reads a file in which a chunk seems to begin behind what is skipped, and to end earlier by as much."""

    def read(position: int, size: int) -> bytes:
        if position < skip.begin:
            return source(position, min(size, skip.begin - position))
        if position >= skip.chunk_end:
            return source(position, size)
        position += skip.end - skip.begin
        size = min(size, skip.chunk_end - position)
        return source(position, size) if size > 0 else b""

    return read
