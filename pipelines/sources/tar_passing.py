"""A tar gone through once from one of its members on: members as a listing finds them, images with their bytes."""

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.archives import compression_of, inside_of
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.inflating import inflated
from beamscribe.pipelines.sources.opened import Readable, UnreadableMemberError, Where
from beamscribe.pipelines.sources.tar_source import PiecesSource
from beamscribe.pipelines.sources.tar_stream import FILE, TarEntry, content, walk
from beamscribe.pipelines.sources.versions import check_version
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import TAR
from beamscribe.storage.uri import FileTooLargeError, only_os_errors

READ_BYTES = 2**18
"""Taken at a time."""


class Passed(NamedTuple):
    """A member that was passed.

    Attributes:
        found: as a listing finds it.
        begins: first byte of its headers in a tar, number of its entry in the directory of a zip, row of a table.
        data: of a file that is wanted, or why it cannot be told; None of any other.
    """

    found: Inside
    begins: int
    data: bytes | Exception | None = None


def pass_through_tar(
    container: Container,
    where: Where,
    begins: int,
    wanted: Callable[[str], bool],
    max_bytes: int,
    note: Callable[[Point], None] | None = None,
    point: Point | None = None,
) -> Generator[Passed, None, None]:
    """The members of a tar from a byte on.

    Args:
        container: which one.
        where: it is.
        begins: the byte, inflated where it is compressed, at which a member begins.
        wanted: whether a file of this name is read.
        max_bytes: that a file may have.
        note: as in `inflating.inflated`.
        point: not behind the byte, from which a compressed tar is read; its beginning by default.

    Raises:
        ReplacedError: if it is no longer the archive that was asked for.
        DamagedArchiveError: where it ends early or is none, after the members before it.
        OSError: if the storage cannot read it.
    """
    plain = container.kind == TAR
    first = begins if plain else point.compressed if point else 0
    check_version(where, container.version, fresh=True)
    with where.opened_in_order(first, container.size) as file:
        if plain:
            source = PiecesSource(_pieces(file), begins)
        else:
            pieces = inflated(_Reads(file), compression_of(container.uri), note, point)
            source = PiecesSource(pieces, point.inflated if point else 0)
        source.skip(begins - source.position)
        for entry in walk(source):
            found = inside_of(entry, container.kind)
            if found is None:
                continue
            is_read = entry.kind == FILE and wanted(entry.name)
            yield Passed(found, entry.header, _read(source, entry, max_bytes) if is_read else None)


def _pieces(file: Readable) -> Iterator[bytes]:
    reads = _Reads(file)
    return iter(lambda: reads.read(READ_BYTES), b"")


class _Reads:
    """A file whose storage's errors are of one kind, so that others are those of what is in it."""

    def __init__(self, file: Readable) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        """As `Readable`."""
        with only_os_errors():
            return self._file.read(size)


def _read(source: PiecesSource, entry: TarEntry, max_bytes: int) -> bytes | Exception:
    """As `members.read_in_passing`, of the member at which the source is."""
    size = entry.size if entry.sparse is None else max(entry.size, entry.sparse.size)
    if size > max_bytes:
        return FileTooLargeError(f"it has {size} bytes, more than {max_bytes}; --max-bytes sets the limit")
    try:
        return content(entry, source.read(entry.size))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a stranger's member brings about is its own failure
        if isinstance(error, DamagedArchiveError):
            return UnreadableMemberError(str(error))
        return error
