"""A remote file of which it is known which parts will be read: in large pieces, asked for ahead, each of them once."""

import bisect
import collections
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from beamscribe.pipelines.sources.opened import PIECE_BYTES, Where
from beamscribe.storage.uri import only_os_errors

WHOLE_BYTES = 2 * PIECE_BYTES
"""Of a file that is read at once, with the first thing that is asked of it."""

KEPT_PIECES = 16
"""That have been read and may be asked for again: the columns of a row group are read side by side."""

NEAR_BYTES = 2**16
"""Between two parts, which are read too, since a request costs more."""


def merged(spans: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Beginnings and ends of parts in their order, without what is not in the file.

    Args:
        spans: first byte and number of bytes of each; nobody has looked at them.
        size: of the file, in bytes.
    """
    found: list[tuple[int, int]] = []
    for start, count in sorted(spans):
        begin, end = max(0, start), min(size, start + count)
        if begin >= end:
            continue
        if found and begin <= found[-1][1] + NEAR_BYTES:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


class PlannedReads:
    """Reads ranges of a file; what of a plan follows them is asked for ahead, as far as it takes that nobody waits.

    Args:
        where: the file.
        size: of it, in bytes.
    """

    def __init__(self, where: Where, size: int) -> None:
        self._where, self._size = where, size
        self._spans: list[tuple[int, int]] = []
        self._starts: list[int] = []
        self._pieces: collections.OrderedDict[int, Future[bytes]] = collections.OrderedDict()
        self._following: Iterator[tuple[int, int]] = iter(())
        self._pool: ThreadPoolExecutor | None = None
        # Pieces by their first byte: all that were asked for, and those that were asked for ahead of their reading.
        self._asked: set[int] = set()
        self._waiting: set[int] = set()
        self._most = self._ahead = self._taken = 0

    def plan(self, spans: Iterable[tuple[int, int]]) -> None:
        """What will be read, nearly in this order.

        Args:
            spans: first byte and number of bytes of each part; what is not in the file is left out.
        """
        if not self._pieces:  # The whole file is one piece.
            self._set(merged(spans, self._size))

    def read(self, position: int, wanted: int) -> bytes:
        """Some bytes of the file, none of which is behind its end.

        Raises:
            OSError: if they cannot be read.
        """
        if not self._spans and self._size <= WHOLE_BYTES:
            self._set([(0, self._size)], self._size)
        found: list[bytes] = []
        with only_os_errors():
            while wanted > 0:
                data = self._some(position, wanted)
                if not data:
                    break
                found.append(data)
                position, wanted = position + len(data), wanted - len(data)
        return b"".join(found)

    def close(self) -> None:
        """Nothing more is wanted."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pieces.clear()

    def _set(self, spans: list[tuple[int, int]], piece_bytes: int = PIECE_BYTES) -> None:
        self._spans, self._starts = spans, [start for start, _ in spans]
        self._piece_bytes = max(1, piece_bytes)
        self._following = itertools.chain.from_iterable(map(self._cut, spans))
        self._most = max(1, self._where.pieces_ahead())
        self._ahead = 1
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="table")

    def _cut(self, span: tuple[int, int]) -> Iterator[tuple[int, int]]:
        start, end = span
        return ((at, min(end, at + self._piece_bytes)) for at in range(start, end, self._piece_bytes))

    def _some(self, position: int, wanted: int) -> bytes:
        """The first bytes of a range, as many as lie in one piece or in none."""
        place = bisect.bisect_right(self._starts, position) - 1
        if place < 0 or position >= self._spans[place][1]:
            following = self._starts[place + 1] if place + 1 < len(self._starts) else self._size
            return self._where.read(position, min(wanted, max(1, following - position)))
        start, end = self._spans[place]
        start = position - (position - start) % self._piece_bytes
        data = self._piece(start, min(end, start + self._piece_bytes))
        return data[position - start :][:wanted]

    def _piece(self, start: int, end: int) -> bytes:
        self._ask_ahead()
        piece = self._pieces.get(start)
        if piece is None:
            if start not in self._asked:
                # What is before it may be passed over for good, so that nothing waits for its being read.
                self._waiting.clear()
            piece = self._ask(start, end)
        elif start in self._waiting:
            # Nobody can have been before the first ones, and what is asked for too early is lost to a kill.
            if self._taken >= 2 * self._ahead and not piece.done():
                self._ahead, self._taken = min(2 * self._ahead, self._most), 0
            self._taken += 1
        self._waiting.discard(start)
        self._pieces.move_to_end(start)
        self._ask_ahead()
        self._forget()
        try:
            return piece.result()
        except BaseException:
            # Whoever asks again has it read again.
            self._pieces.pop(start, None)
            raise

    def _ask(self, start: int, end: int) -> "Future[bytes]":
        assert self._pool is not None
        self._asked.add(start)
        piece = self._pieces[start] = self._pool.submit(self._where.read, start, end - start)
        return piece

    def _ask_ahead(self) -> None:
        while len(self._waiting) < self._ahead and (piece := next(self._following, None)):
            if piece[0] not in self._asked:
                self._ask(*piece)
                self._waiting.add(piece[0])

    def _forget(self) -> None:
        """Keeps the latest of those that were taken or passed over."""
        old = [start for start in self._pieces if start not in self._waiting]
        for start in old[:-KEPT_PIECES]:
            del self._pieces[start]
