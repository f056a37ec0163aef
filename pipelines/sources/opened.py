"""Files that hold many images, and what the readers of them share."""

import contextlib
import json
import os
from collections.abc import Generator, Iterator
from typing import IO, Any, NamedTuple, Protocol

from beamscribe.storage.location import locate
from beamscribe.storage.prefetch import prefetch_as_needed
from beamscribe.storage.uri import filesystem, open_uri, read_range

OPEN_CONTAINERS = 4
"""That a process keeps open: the images of a shard come from one."""


PIECE_BYTES, PIECES_AHEAD = 2**19, 64
"""Of a remote file that is read in order: what is asked for at once, and how many pieces at most ahead of that;
at 100 ms for an answer these are 320 MB a second. Small pieces, since those ahead are read again after a kill."""


CONNECTIONS = 4
"""Of clients that have one connection each, how many a file is read with."""


class UnreadableMemberError(OSError):
    """A member of a container cannot be read; the message says why."""


class Readable(Protocol):
    """A file that is read in order."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; fewer only at the end."""
        ...


class PiecesReader:
    """Pieces of bytes, one after the other, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._piece, self._start = pieces, b"", 0

    def read(self, size: int) -> bytes:
        """As `Readable`."""
        found: list[bytes] = []
        while size:
            if self._start == len(self._piece):
                self._piece, self._start = next(self._pieces, b""), 0
                if not self._piece:
                    break
            found.append(self._piece[self._start : self._start + size])
            self._start += len(found[-1])
            size -= len(found[-1])
        return b"".join(found)


class Where(NamedTuple):
    """A container.

    Attributes:
        uri: of the file.
        options: passed to fsspec, as JSON.
        allow_private: as in `beamscribe.storage.uri.read_uri`.
    """

    uri: str
    options: str
    allow_private: bool

    @classmethod
    def of(cls, uri: str, options: dict[str, Any], allow_private: bool) -> "Where":
        """Options as they are given to fsspec."""
        return cls(uri, json.dumps(options, sort_keys=True), allow_private)

    @property
    def fsspec_options(self) -> dict[str, Any]:
        """The options as they were given."""
        return json.loads(self.options)

    def open(self) -> IO[bytes]:
        """The file, to seek in."""
        return open_uri(self.uri, self.fsspec_options, self.allow_private)

    @contextlib.contextmanager
    def opened_in_order(self, begin: int = 0, size: int | None = None) -> Iterator[Readable]:
        """The file, to be read from a byte of it to its end; of an object store some pieces are asked for ahead.

        Args:
            begin: the first byte.
            size: of the file, where it is known; else storage is asked for it.

        Raises:
            OSError: if it cannot be opened.
        """
        fs, _ = filesystem(self.uri, self.fsspec_options, self.allow_private)
        # Servers of the web need not give parts, and other clients have one connection.
        if not fs.async_impl or locate(self.uri).web:
            with self.open() as file:
                file.seek(begin)
                yield file
            return
        with contextlib.closing(self.pieces(begin, self.size() if size is None else size)) as pieces:
            yield PiecesReader(pieces)

    def pieces(self, begin: int, end: int) -> Generator[bytes, None, None]:
        """The bytes from one on, some pieces of which are asked for ahead; none before the first is taken.

        Args:
            begin: the first byte.
            end: behind the last one.
        """
        starts = range(begin, end, PIECE_BYTES)
        return prefetch_as_needed(
            lambda start: self.read(start, min(PIECE_BYTES, end - start)), starts, self.pieces_ahead()
        )

    def pieces_ahead(self) -> int:
        """Pieces at most that are asked for ahead, a connection each where the client has one alone."""
        fs, _ = filesystem(self.uri, self.fsspec_options, self.allow_private)
        return PIECES_AHEAD if fs.async_impl else CONNECTIONS

    def local_path(self) -> str | None:
        """Where it is on this machine's disk, if it is there."""
        found = locate(self.uri)
        return found.path if found.local else None

    def size(self) -> int:
        """Bytes of the file.

        Raises:
            OSError: if storage does not say.
        """
        with self.open() as file:
            return file.seek(0, os.SEEK_END)

    def read(self, position: int, size: int) -> bytes:
        """Some bytes of the file.

        Raises:
            OSError: if they cannot be read.
        """
        return read_range(self.uri, position, size, json.loads(self.options), self.allow_private)
