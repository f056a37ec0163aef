"""Compressed tars inflated as far as was asked for, each once a process."""

import collections
import tempfile
import threading
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.archives import compression_of
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.inflating import PIECE, inflated
from beamscribe.pipelines.sources.opened import OPEN_CONTAINERS, Where
from beamscribe.pipelines.sources.versions import check_version

_ZEROS = bytes(PIECE)


class _Key(NamedTuple):
    where: Where
    version: str


class Spool:
    """A compressed tar, which can only be read from its beginning, as a file without a name that grows as it is read.

    Where the archive is damaged, what comes before can be read.

    Args:
        where: the archive.
        version: of the archive that was listed.
    """

    def __init__(self, where: Where, version: str) -> None:
        self._pieces = self._inflate(where, version)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the spool is kept
        self._made = 0
        self._ended = False
        self.lock = threading.Lock()
        self.damage: DamagedArchiveError | None = None

    def read(self, start: int, size: int) -> bytes:
        """Some inflated bytes, fewer where the archive ends or is damaged.

        Raises:
            OSError: if the storage cannot read it, or it is no longer the archive that was listed.
        """
        with self.lock:
            while self._made < start + size and not self._ended:
                self._advance()
            self._file.seek(start)
            return self._file.read(max(0, min(size, self._made - start)))

    def _advance(self) -> None:
        try:
            piece = next(self._pieces, b"")
        except DamagedArchiveError as error:
            self.damage, self._ended = error, True
            return
        self._file.seek(self._made)
        # Of what is nothing but zeros the file keeps only the length.
        if piece != _ZEROS[: len(piece)]:
            self._file.write(piece)
        self._made += len(piece)
        self._ended = not piece
        if self._ended:
            self._file.truncate(self._made)

    @staticmethod
    def _inflate(where: Where, version: str) -> Iterator[bytes]:
        with where.open() as file:
            check_version(where, version, fresh=True)
            yield from inflated(file, compression_of(where.uri))


_SPOOLS: "collections.OrderedDict[_Key, Spool]" = collections.OrderedDict()
_LOCK = threading.Lock()


def spool(where: Where, version: str) -> Spool:
    """The spool of an archive; those that were not asked for longest are forgotten."""
    key = _Key(where, version)
    with _LOCK:
        found = _SPOOLS.pop(key, None) or Spool(where, version)
        _SPOOLS[key] = found
        while len(_SPOOLS) > OPEN_CONTAINERS:
            _SPOOLS.popitem(last=False)
        return found


def forget(where: Where, version: str) -> None:
    """The next one to ask begins again, after the storage failed in the middle."""
    with _LOCK:
        _SPOOLS.pop(_Key(where, version), None)
