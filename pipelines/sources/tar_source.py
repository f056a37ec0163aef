"""Bytes of a tar that are gone through once: of a file to seek in, or of pieces that come one after the other."""

from collections.abc import Iterator
from typing import IO, Protocol


class Source(Protocol):
    """Bytes that are gone through once.

    Attributes:
        position: of the next one.
    """

    position: int

    def read(self, size: int) -> bytes:
        """The next bytes; fewer only at the end."""
        ...

    def skip(self, size: int) -> int:
        """Passes over bytes and says how many there were."""
        ...


class SeekableSource:
    """A file that can be sought in.

    Args:
        file: at its beginning.
        length: of the file.
    """

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._length, self.position = file, length, 0

    def read(self, size: int) -> bytes:
        """As `Source`."""
        data = self._file.read(size)
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """As `Source`."""
        there = max(0, min(size, self._length - self.position))
        self.position += there
        self._file.seek(self.position)
        return there


class PiecesSource:
    """Pieces of bytes, one after the other, of which one is held at a time.

    Args:
        pieces: of the archive.
        position: of their first byte in it.
    """

    def __init__(self, pieces: Iterator[bytes], position: int = 0) -> None:
        self._pieces, self._piece, self._start, self.position = pieces, b"", 0, position

    def read(self, size: int) -> bytes:
        """As `Source`."""
        found = []
        while size and self._more():
            part = self._piece[self._start : self._start + size]
            found.append(part)
            self._passed(len(part))
            size -= len(part)
        return b"".join(found)

    def skip(self, size: int) -> int:
        """As `Source`."""
        left = size
        while left and self._more():
            part = min(left, len(self._piece) - self._start)
            self._passed(part)
            left -= part
        return size - left

    def _more(self) -> bool:
        while self._start == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece, self._start = piece, 0
        return True

    def _passed(self, size: int) -> None:
        self._start += size
        self.position += size
