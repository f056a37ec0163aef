"""The byte strings of a column chunk of a Parquet file one by one, from any of them on, without holding a page.

Arrow reads a page whole, and it writes 1,024 values to one, however large: of photographs that is more than a worker
should hold, and than a run which was killed should read again. What is not as Arrow itself writes it, in pages that are
stored as they are or by Snappy, is left to Arrow.
"""

from typing import IO, NamedTuple, Protocol

from beamscribe.pipelines.sources.parquet_pages import (
    DATA_PAGE,
    DICTIONARY_PAGE,
    HEADER_BYTES,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    PageHeader,
    UnusualPageError,
    packed_numbers,
    page_header,
    varint,
)
from beamscribe.pipelines.sources.snappy_reader import SnappyReader, exactly

STORED, SNAPPY = "UNCOMPRESSED", "SNAPPY"

_OF_DICTIONARY = (PLAIN_DICTIONARY, RLE_DICTIONARY)

_MOST_PACKED = 1.25
"""Bytes of a page for each that is stored, beyond which Arrow unpacks it faster: photographs are packed already."""

_NUMBER_BYTES = 8
"""At most, of a number of a dictionary and the level before it."""

_SIZE_BYTES = 5
"""At most, with which bytes of Snappy begin: how many they are, unpacked."""

_LENGTH_BYTES = 4
"""Before each value, and before the levels that tell which are null."""


class Place(NamedTuple):
    """Where a value begins.

    Attributes:
        row: of it.
        begin: byte of the file from which on it is read.
        skip: bytes, unpacked, from there to the value.
        left: bytes, unpacked, from there to the end of the page.
        end: byte of the file behind the page.
        values: of the page, from this one on.
        follows: byte of the file at which the next page begins; behind a dictionary it is not `end`.
    """

    row: int
    begin: int
    skip: int
    left: int
    end: int
    values: int
    follows: int

    @property
    def position(self) -> int:
        """By which places are in order."""
        return self.row


class Chunk(NamedTuple):
    """A column chunk of byte strings, none of which is null or in a list.

    Attributes:
        begin: first byte.
        end: behind the last one.
        codec: `STORED` or `SNAPPY`.
        levels: that a value which is not null has, see Parquet's definition levels.
    """

    begin: int
    end: int
    codec: str
    levels: int

    def holds(self, place: Place) -> bool:
        """Whether a place can be one of it; what is stored of a place may be of another chunk."""
        in_order = (self.begin, place.begin, place.end, place.follows, self.end)
        return sorted(in_order) == [*in_order] and 0 <= place.skip <= place.left and place.values > 0


class _Unpacked(Protocol):
    """The bytes of a page from one on."""

    @property
    def left(self) -> int:
        """Bytes to the end of the page."""
        ...

    def read(self, size: int) -> bytes:
        """The next bytes."""
        ...

    def place(self) -> tuple[int, int]:
        """A byte of the file from which on the next byte can be read, and unpacked bytes from there to it."""
        ...


class Values:
    """Goes forward through a chunk.

    Attributes:
        row: in the chunk, of the next value; after an error a later one, if what is behind it can be read.
    """

    def __init__(self, file: IO[bytes], chunk: Chunk, place: Place | None = None) -> None:
        """Begins at a place, or at the first value.

        Args:
            file: to seek in.
            chunk: of it.
            place: that `place` has told.
        """
        self._file, self._chunk = file, chunk
        self.row, self._follows, self._end, self._values = 0, chunk.begin, 0, 0
        self._page: _Unpacked | None = None
        self._place = place if place and chunk.holds(place) else None
        if self._place:
            _, _, _, _, self._end, self._values, self._follows = self._place
            self.row = self._place.row

    def place(self) -> Place:
        """Where the next value begins.

        Raises:
            UnusualPageError: if it is left to Arrow.
        """
        page = self._opened()
        begin, skip = page.place()
        return Place(self.row, begin, skip, page.left + skip, self._end, self._values, self._follows)

    def next(self) -> bytes:
        """The next value.

        Raises:
            UnusualPageError: if it is left to Arrow.
        """
        page = self._opened()
        data = page.read(int.from_bytes(page.read(_LENGTH_BYTES), "little"))
        if self._file.tell() > self._end:
            raise UnusualPageError("a page ends early")
        self.row, self._values = self.row + 1, self._values - 1
        return data

    def _opened(self) -> _Unpacked:
        """The page in which the next value is."""
        if self._place:
            place, self._place = self._place, None
            self._file.seek(place.begin)
            self._page = self._unpacked(place.left)
            self._page.read(place.skip)
        while self._page is None or not self._values:
            header, begin = self._header(self._follows)
            follows = begin + header.packed
            if header.kind == DICTIONARY_PAGE:
                self._open_dictionary(header, begin)
            elif header.encoding in _OF_DICTIONARY:
                raise self._leave(header, follows, "its values are numbers of those of a dictionary")
            elif header.encoding != PLAIN:
                raise UnusualPageError("its values are not as they are")
            elif header.size > _MOST_PACKED * header.packed:
                raise self._leave(header, follows, "it is much smaller than what is in it")
            else:
                page = self._opened_page(header, begin)
                self._skip_levels(page, header)
                self._page, self._values, self._end, self._follows = page, header.values, follows, follows
        return self._page

    def _leave(self, header: PageHeader, follows: int, why: str) -> UnusualPageError:
        """A page that Arrow reads, while the values behind it are read one by one again."""
        self.row, self._follows = self.row + header.values, follows
        return UnusualPageError(why)

    def _open_dictionary(self, header: PageHeader, begin: int) -> None:
        """A dictionary with the values of the page behind it, in their order, is read as if it were that page.

        A writer begins with a dictionary and gives it up for its size; most often each of its values is there once.
        """
        end = begin + header.packed
        if header.encoding not in (PLAIN, PLAIN_DICTIONARY):
            raise UnusualPageError("a dictionary of another encoding")
        numbers, at = self._header(end)
        follows = at + numbers.packed
        if numbers.kind != DATA_PAGE or numbers.encoding not in _OF_DICTIONARY:
            raise UnusualPageError("no numbers behind its dictionary")
        if numbers.values != header.values or header.size > _MOST_PACKED * header.packed:
            raise self._leave(numbers, follows, "the values of a dictionary are not there once, or well packed")
        if numbers.size > _NUMBER_BYTES * numbers.values + HEADER_BYTES:
            raise UnusualPageError("numbers of many bytes")
        page = self._opened_page(numbers, at)
        self._skip_levels(page, numbers)
        [width] = page.read(1)
        if packed_numbers(page.read(page.left), width, numbers.values) != list(range(numbers.values)):
            raise self._leave(numbers, follows, "the values of a dictionary are not in their order")
        self._page, self._values = self._opened_page(header, begin), header.values
        self._end, self._follows = end, follows

    def _header(self, begin: int) -> tuple[PageHeader, int]:
        """The header of the page that begins at a byte, and the byte behind it."""
        if not self._chunk.begin <= begin < self._chunk.end:
            raise UnusualPageError("it has fewer pages than it says")
        self._file.seek(begin)
        header = page_header(self._file.read(min(HEADER_BYTES, self._chunk.end - begin)))
        begin += header.header_bytes
        if begin + header.packed > self._chunk.end:
            raise UnusualPageError("a page reaches behind its chunk")
        return header, begin

    def _opened_page(self, header: PageHeader, begin: int) -> _Unpacked:
        self._file.seek(begin)
        if self._chunk.codec == STORED:
            if header.packed != header.size:
                raise UnusualPageError("a page has two sizes")
            return self._unpacked(header.size)
        size, width = varint(exactly(self._file, min(_SIZE_BYTES, header.packed)), 0)
        if size != header.size:
            raise UnusualPageError("a page has two sizes")
        self._file.seek(begin + width)
        return self._unpacked(header.size)

    def _unpacked(self, left: int) -> _Unpacked:
        return _StoredReader(self._file, left) if self._chunk.codec == STORED else SnappyReader(self._file, left)

    def _skip_levels(self, page: _Unpacked, header: PageHeader) -> None:
        """Levels are before the values, all of them the same where none is null."""
        levels = self._chunk.levels
        if not levels:
            return
        data = page.read(int.from_bytes(page.read(_LENGTH_BYTES), "little"))
        if set(packed_numbers(data, levels.bit_length(), header.values)) - {levels}:
            raise UnusualPageError("some values are null")


class _StoredReader:
    """A page that is not compressed, from a byte on."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file, self.left = file, left

    def place(self) -> tuple[int, int]:
        """As `_Unpacked`."""
        return self._file.tell(), 0

    def read(self, size: int) -> bytes:
        """As `_Unpacked`.

        Raises:
            UnusualPageError: if they are not there.
        """
        if size > self.left:
            raise UnusualPageError(f"{size} bytes are wanted of {self.left}")
        self.left -= size
        return exactly(self._file, size)
