"""A zip gone through from one entry of its directory on: members as a listing finds them, images with their bytes.

Entries are taken some at a time, and the bytes of those that are wanted are asked for ahead, in the order of the
directory, which nearly always is that of the bytes.
"""

import contextlib
import functools
import io
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.archive_members import ReadRange, bytes_of_zip_member, with_header
from beamscribe.pipelines.sources.archives import MAX_TARGET, zip_entries, zip_link
from beamscribe.pipelines.sources.beside import until_error
from beamscribe.pipelines.sources.links import Link
from beamscribe.pipelines.sources.members import part_of, read_member
from beamscribe.pipelines.sources.opened import PIECE_BYTES, PiecesReader, UnreadableMemberError, Where
from beamscribe.pipelines.sources.tar_parts import Piece, pieces_of
from beamscribe.pipelines.sources.tar_passing import Passed
from beamscribe.pipelines.sources.versions import ReplacedError, check_version
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import UNREADABLE, ZIP, Member
from beamscribe.storage.prefetch import prefetch_as_needed
from beamscribe.storage.uri import FileTooLargeError, only_os_errors

ENTRIES_TOGETHER = 256
"""At most, where few of them are read."""


class _Entry(NamedTuple):
    """An entry of a directory that is no folder.

    Attributes:
        number: in the directory.
        name: of the member.
        member: how to read it.
        is_link: whether its bytes are the target of a symbolic link.
        is_wanted: whether it is read otherwise.
        most: bytes that it may have.
    """

    number: int
    name: str
    member: Member
    is_link: bool
    is_wanted: bool
    most: int

    @property
    def is_read(self) -> bool:
        """Whether bytes of the archive are asked for."""
        is_asked = self.member.kind == ZIP and (self.is_link or self.is_wanted)
        return is_asked and bytes_of_zip_member(self.member) <= self.most


class _Window(NamedTuple):
    """Entries that follow each other.

    Attributes:
        entries: in their order.
        read: those whose bytes are read.
        pieces: of the archive, in which these lie.
    """

    entries: list[_Entry]
    read: list[_Entry]
    pieces: list[Piece]

    @classmethod
    def of(cls, entries: list[_Entry]) -> "_Window":
        """Finds the pieces."""
        read = [one for one in entries if one.is_read]
        return cls(entries, read, list(pieces_of([with_header(one.member) for one in read])))

    def weight(self) -> int:
        """For how many pieces of a file that is read in order it counts."""
        return max(1, sum(piece.size for piece in self.pieces) // PIECE_BYTES)


def pass_through_zip(
    container: Container, where: Where, begins: int, wanted: Callable[[str], bool], max_bytes: int
) -> Generator[Passed, None, None]:
    """The members of a zip from an entry on.

    Args:
        container: which one.
        where: it is.
        begins: number of the entry in the directory.
        wanted: whether a file of this name is read.
        max_bytes: that a file may have.

    Raises:
        ReplacedError: if it is no longer the archive that was asked for.
        DamagedArchiveError: where its directory is damaged, after the members before that.
        OSError: if the storage cannot read it.
    """
    # Storage is asked for the version and for the directory at once. What this process lacks, such as threads, is no
    # damage of the archive.
    pool = ThreadPoolExecutor(1, thread_name_prefix="version")
    with only_os_errors():
        checked = pool.submit(check_version, where, container.version, fresh=True)
    pool.shutdown(wait=False)
    # What is wrong with the directory is met before the members are passed that are read ahead.
    errors: list[Exception] = []
    file: Any = _EndFile(where, container.size)
    with contextlib.closing(file):
        entries = (
            _Entry(number, name, member, is_link, wanted(name), MAX_TARGET if is_link else max_bytes)
            for number, name, member, is_link in zip_entries(file)
            if number >= begins
        )
        windows = prefetch_as_needed(
            functools.partial(_read, where),
            _windows(until_error(entries, errors)),
            where.pieces_ahead(),
            _Window.weight,
        )
        with contextlib.closing(windows):
            while True:
                with only_os_errors():
                    taken = next(windows, None)
                if taken is None:
                    break
                window, parts = taken
                checked.result()
                for one in window.entries:
                    yield _passed(one, where, container.version, parts.pop(one.number, where.read))
    checked.result()
    if errors:
        raise errors[0]


class _EndFile:
    """A remote file as one to seek in, of which the end is read: once what reaches to its end, in order what does not.

    Args:
        where: it is.
        size: of the file.
    """

    def __init__(self, where: Where, size: int) -> None:
        self._where, self._size, self._at, self._next = where, size, 0, -1
        self._end = b""
        self._pieces: Generator[bytes, None, None] | None = None
        self._reader = PiecesReader(iter(()))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of a file."""
        self._at = offset + (self._size if whence == io.SEEK_END else 0)
        return self._at

    def read(self, size: int) -> bytes:
        """As of a file.

        Raises:
            OSError: if it cannot be read.
        """
        with only_os_errors():
            data = self._read(max(0, min(size, self._size - self._at)))
        self._at += len(data)
        return data

    def _read(self, size: int) -> bytes:
        kept = self._size - len(self._end)
        if self._at >= kept:
            return self._end[self._at - kept :][:size]
        if self._at + size == self._size:
            self._end = self._where.read(self._at, size)
            return self._end
        if self._at != self._next:
            self.close()
            self._pieces = self._where.pieces(self._at, self._size)
            self._reader = PiecesReader(self._pieces)
        data = self._reader.read(size)
        self._next = self._at + len(data)
        return data

    def close(self) -> None:
        """Nothing more is wanted."""
        if self._pieces is not None:
            self._pieces.close()


def _windows(entries: Iterable[_Entry]) -> Iterator[_Window]:
    """Entries in their order, so many together that their bytes are about a piece."""
    some: list[_Entry] = []
    size = 0
    for one in entries:
        some.append(one)
        size += one.member.size if one.is_read else 0
        if size >= PIECE_BYTES or len(some) == ENTRIES_TOGETHER:
            yield _Window.of(some)
            some, size = [], 0
    if some:
        yield _Window.of(some)


def _read(where: Where, window: _Window) -> tuple[_Window, dict[int, ReadRange]]:
    """Reads the pieces of a window; how to read each of its entries from these, by number."""
    parts: dict[int, ReadRange] = {}
    for piece in window.pieces:
        part = part_of(where, piece, where.read(piece.start, piece.size))
        parts.update((window.read[place].number, part) for place in piece.members)
    return window, parts


def _passed(one: _Entry, where: Where, version: str, part: ReadRange) -> Passed:
    what = one.member
    if one.is_link:
        link = zip_link(part, one.name, what)
        if isinstance(link, Link):
            return Passed(Inside(one.name, link), one.number)
        # What is wrong with it may be that it is another file.
        check_version(where, version, fresh=True)
        what = link
    return Passed(Inside(one.name, what), one.number, _data(one, what, where, version, part))


def _data(one: _Entry, what: Member, where: Where, version: str, part: ReadRange) -> bytes | Exception | None:
    if not one.is_wanted:
        return None
    if what.kind == UNREADABLE:
        return UnreadableMemberError(what.detail)
    try:
        return read_member(where, what._replace(version=version), part, one.most)
    except ReplacedError:
        raise
    except (UnreadableMemberError, FileTooLargeError) as error:
        return error
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a stranger's member brings about is its own failure
        return error
