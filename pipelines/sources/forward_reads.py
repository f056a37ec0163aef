"""Ranges of a remote file that a reader asks for, most of them one behind the other."""

import collections
from collections.abc import Generator
from typing import NamedTuple

from beamscribe.pipelines.sources.opened import PiecesReader, Where

MOST_STREAMS = 8
"""Of a process: a reader goes forward in some columns of some tables at a time."""


class _Stream(NamedTuple):
    pieces: Generator[bytes, None, None]
    reader: PiecesReader


class ForwardReads:
    """Reads ranges of files; what follows a range is asked for ahead once a second range begins where one has ended."""

    def __init__(self) -> None:
        self._streams: collections.OrderedDict[tuple[Where, int], _Stream] = collections.OrderedDict()

    def read(self, where: Where, size: int, position: int, wanted: int) -> bytes:
        """Some bytes of a file.

        Args:
            where: the file.
            size: of it, in bytes.
            position: of the first byte.
            wanted: bytes, none of which is behind the end.

        Raises:
            OSError: if they cannot be read.
        """
        stream = self._streams.pop((where, position), None)
        data = where.read(position, wanted) if stream is None else stream.reader.read(wanted)
        end = position + len(data)
        if stream is None:
            pieces = where.pieces(end, size)
            stream = _Stream(pieces, PiecesReader(pieces))
        self._streams[where, end] = stream
        while len(self._streams) > MOST_STREAMS:
            self._streams.popitem(last=False)[1].pieces.close()
        return data

    def close(self) -> None:
        """Nothing more is wanted."""
        for stream in self._streams.values():
            stream.pieces.close()
        self._streams.clear()
