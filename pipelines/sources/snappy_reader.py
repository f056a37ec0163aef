"""Snappy unpacked from the middle of its bytes on, a part at a time.

Arrow unpacks a page whole, and only from its beginning. The format: a length, then literals and copies of what has been
unpacked before, see https://github.com/google/snappy/blob/main/format_description.txt. Its library packs each 64 KiB
without reference to what is before them, so that unpacking can begin there. Where another writer does refer to more,
that is an error after such a beginning, and where one does not cut there, a whole page is held.
"""

import collections
from typing import IO

from beamscribe.pipelines.sources.parquet_pages import UnusualPageError

FRAGMENT = 2**16

LONGEST_LITERAL = 2**20
"""Longer ones are no fragment's."""

_KEPT_BYTES = 2**18
"""That are unpacked and have been taken, before the oldest are forgotten."""


class SnappyReader:
    """Unpacks from a fragment on.

    Args:
        file: at the first element of a fragment.
        left: bytes that it and those behind it have, unpacked.
    """

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file, self._left = file, left
        self._ready, self._taken = bytearray(), 0
        # Bytes unpacked before the first of those that are ready.
        self._before = 0
        self._fragments: collections.deque[tuple[int, int]] = collections.deque()

    @property
    def left(self) -> int:
        """Unpacked bytes that have not been taken."""
        return self._left + len(self._ready) - self._taken

    def place(self) -> tuple[int, int]:
        """First byte of the file of the fragment in which the next byte is, and unpacked bytes from there to it."""
        at = self._before + self._taken
        if at % FRAGMENT == 0 and self._taken == len(self._ready):
            return self._file.tell(), 0
        while len(self._fragments) > 1 and self._fragments[1][0] <= at:
            self._fragments.popleft()
        unpacked, begin = self._fragments[0]
        return begin, at - unpacked

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            UnusualPageError: if they are not there, or refer to what is before the fragment.
        """
        if size > self.left:
            raise UnusualPageError(f"{size} bytes are wanted of {self.left}")
        while len(self._ready) - self._taken < size:
            self._unpack()
        data = bytes(memoryview(self._ready)[self._taken : self._taken + size])
        self._taken += size
        return data

    def _unpack(self) -> None:
        """One element more."""
        if (self._before + len(self._ready)) % FRAGMENT == 0:
            self._fragments.append((self._before + len(self._ready), self._file.tell()))
            self._forget()
        [tag] = exactly(self._file, 1)
        kind, length = tag & 3, (tag >> 2) + 1
        before = len(self._ready)
        if kind == 0:
            if length > 60:
                length = int.from_bytes(exactly(self._file, length - 60), "little") + 1
            if length > min(self._left, LONGEST_LITERAL):
                raise UnusualPageError(f"a literal of {length} bytes")
            self._ready += exactly(self._file, length)
        else:
            if kind == 1:
                length = (tag >> 2 & 7) + 4
                offset = (tag >> 5) << 8 | exactly(self._file, 1)[0]
            else:
                offset = int.from_bytes(exactly(self._file, 2 if kind == 2 else 4), "little")
            if not 0 < offset <= before or length > self._left:
                raise UnusualPageError(f"a copy of {length} bytes from {offset} before")
            found = bytes(self._ready[before - offset : before - offset + length])
            self._ready += (found * (length // len(found) + 1))[:length]
        self._left -= len(self._ready) - before

    def _forget(self) -> None:
        gone = self._taken - FRAGMENT
        if self._taken > _KEPT_BYTES:
            del self._ready[:gone]
            self._taken, self._before = FRAGMENT, self._before + gone


def exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes of a file.

    Raises:
        UnusualPageError: if it ends before.
    """
    data = file.read(size)
    if len(data) != size:
        raise UnusualPageError("it ends early")
    return data
