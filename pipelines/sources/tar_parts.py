"""Members of tars read many at a time: of a plain tar in large pieces, of a compressed one in a single pass.

A shard holds members of one container that mostly follow each other. Asking for each of them would cost an answer of
the storage each; unpacking a compressed tar would fill the disk. What is read this way is what `members.read_reference`
gives: the same function takes members apart, from bytes that are there already.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from beamscribe.pipelines.sources.archives import compression_of
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.inflating import inflated
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.tar_source import PiecesSource
from beamscribe.pipelines.sources.versions import check_version
from beamscribe.pipelines.work.work_item import Member

PIECE_BYTES = 2**22
"""That are asked for at once, but for a member that is larger."""

LARGEST_GAP = 2**16
"""Bytes between members that are read and thrown away: an answer takes as long as some hundred kilobytes."""


class Piece(NamedTuple):
    """Bytes of an archive that are asked for at once.

    Attributes:
        start: of the first byte.
        size: bytes.
        members: places in what was given of those that lie in it.
    """

    start: int
    size: int
    members: tuple[int, ...]


def pieces_of(members: Sequence[Member]) -> Iterator[Piece]:
    """Members of an archive, in the order of their bytes, in as few pieces as that takes.

    Args:
        members: with start and size.
    """
    start = end = 0
    held: list[int] = []
    for place in sorted(range(len(members)), key=lambda place: (members[place].start, place)):
        member = members[place]
        last = max(end, member.start + member.size)
        if held and (member.start > end + LARGEST_GAP or last - start > PIECE_BYTES):
            yield Piece(start, end - start, tuple(held))
            held = []
        if not held:
            start, last = member.start, member.start + member.size
        end = last
        held.append(place)
    if held:
        yield Piece(start, end - start, tuple(held))


class InflatedTar:
    """The inflated bytes of a compressed tar, gone through from its beginning; what has passed is not kept.

    Args:
        where: the archive.
        version: of the archive that was listed.
    """

    def __init__(self, where: Where, version: str) -> None:
        self.where, self._version = where, version
        self._latest: tuple[int, int, bytes] = (0, 0, b"")
        self._begin()

    def _begin(self) -> None:
        self._source = PiecesSource(self._inflate())
        self.damage: DamagedArchiveError | None = None

    def _inflate(self) -> Iterator[bytes]:
        with self.where.opened_in_order() as file:
            check_version(self.where, self._version, fresh=True)
            try:
                yield from inflated(file, compression_of(self.where.uri))
            except DamagedArchiveError as error:
                # What comes before can be read.
                self.damage = error

    def read(self, start: int, size: int) -> bytes:
        """Some bytes, fewer where the archive ends or is damaged; what lies before the last ones costs a new pass.

        Raises:
            OSError: if the storage cannot read it, or it is no longer the archive that was listed; then the next call
                begins again.
        """
        if self._latest[:2] == (start, size):
            return self._latest[2]
        try:
            if start < self._source.position:
                self._begin()
            self._source.skip(start - self._source.position)
            data = self._source.read(size)
        except Exception:
            self._begin()
            raise
        self._latest = (start, size, data)
        return data
