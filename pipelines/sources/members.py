"""Reads what a reference names: a file, or one member of a file that holds many, which is never unpacked."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from beamscribe.pipelines.sources.archive_members import ReadRange, read_tar_member, read_zip_member, zip_member
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.opened import UnreadableMemberError, Where
from beamscribe.pipelines.sources.spools import forget, spool
from beamscribe.pipelines.sources.table_process import PROCESS
from beamscribe.pipelines.sources.tar_parts import InflatedTar, Piece
from beamscribe.pipelines.sources.versions import ReplacedError, check_version
from beamscribe.pipelines.sources.zip_directory import directory
from beamscribe.pipelines.work.work_item import (
    ARROW,
    INFLATED_TAR,
    OLD_INFLATED_TAR,
    OLD_TAR,
    OLD_ZIP,
    PARQUET,
    TAR,
    UNREADABLE,
    ZIP,
    Member,
    WorkItem,
)
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.storage.advancing import while_advancing
from beamscribe.storage.transient import TIMEOUT_SECONDS, retried
from beamscribe.storage.uri import FileTooLargeError, only_os_errors, read_range, read_uri


def read_reference(
    reference: WorkItem, options: dict[str, Any], allow_private: bool = False, max_bytes: int = MAX_BYTES
) -> bytes:
    """The bytes of an image.

    Args:
        reference: what to read.
        options: passed to fsspec.
        allow_private: as in `beamscribe.storage.uri.read_uri`.
        max_bytes: of an image file.

    Raises:
        OSError: if it cannot be read, or has more bytes.
    """
    member = reference.member
    if member is None:
        return read_uri(reference.uri, options, allow_private, max_bytes)
    if member.kind == UNREADABLE:
        raise UnreadableMemberError(member.detail)
    where = Where.of(reference.container, options, allow_private)
    return _checked(where, member, lambda: _read(where, member, max_bytes))


def read_piece(
    references: Sequence[WorkItem], piece: Piece, options: dict[str, Any], allow_private: bool, max_bytes: int
) -> list[bytes | Exception]:
    """The bytes of members of a tar or a zip that lie in one piece of it, or why there are none, as `read_reference`.

    Args:
        references: of the piece, in its order.
        piece: of the archive.
        options: passed to fsspec.
        allow_private: as in `beamscribe.storage.uri.read_uri`.
        max_bytes: of an image file.
    """
    where = Where.of(references[0].container, options, allow_private)
    try:
        data = where.read(piece.start, piece.size)
    except OSError:
        # Each of them is asked for by itself, and says itself why it cannot be read.
        data = None

    def one(reference: WorkItem) -> bytes:
        member = reference.member
        if data is None or member is None:
            return read_reference(reference, options, allow_private, max_bytes)
        return read_member(where, member, part_of(where, piece, data), max_bytes)

    return [_outcome(functools.partial(one, reference)) for reference in references]


def part_of(where: Where, piece: Piece, data: bytes) -> ReadRange:
    """Reads bytes of an archive that are there already.

    Args:
        where: the archive.
        piece: of it.
        data: its bytes.
    """
    there = memoryview(data)

    def part(start: int, size: int) -> bytes:
        if start + size > piece.start + piece.size:
            return where.read(start, size)  # The header of a member of a zip may be longer than expected.
        return bytes(there[start - piece.start :][:size])

    return part


def read_member(where: Where, member: Member, part: ReadRange, max_bytes: int) -> bytes:
    """As `read_reference`, of a member of a tar or a zip.

    Args:
        where: its archive.
        member: what to read.
        part: reads bytes of the archive.
        max_bytes: of an image file.
    """
    read = read_zip_member if member.kind == ZIP else read_tar_member
    return _checked(where, member, lambda: read(part, member, max_bytes))


def read_in_passing(stream: InflatedTar, reference: WorkItem, max_bytes: int) -> bytes:
    """As `read_reference`, of a member of a compressed tar that is read once.

    Args:
        stream: of its container.
        reference: what to read, behind what was read before.
        max_bytes: of an image file.
    """
    member = reference.member
    if member is None or member.kind != INFLATED_TAR:
        raise UnreadableMemberError(member.detail if member else "it is no member of the archive")
    return _checked(stream.where, member, lambda: _read_passing(stream, member, max_bytes))


@retried
def _read_passing(stream: InflatedTar, member: Member, max_bytes: int) -> bytes:
    def read() -> bytes:
        try:
            return read_tar_member(stream.read, member, max_bytes)
        except DamagedArchiveError as error:
            raise UnreadableMemberError(f"{error}; {stream.damage}" if stream.damage else str(error)) from None

    with only_os_errors():
        return while_advancing(TIMEOUT_SECONDS, read)


def _outcome(read: Callable[[], bytes]) -> bytes | Exception:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - whatever reading one image brings about is its own failure
        return error


def _checked(where: Where, member: Member, read: Callable[[], bytes]) -> bytes:
    """What a member gives, if its container is the one that was listed."""
    try:
        data = read()
    except DamagedArchiveError as error:
        check_version(where, member.version, fresh=True)
        raise UnreadableMemberError(str(error)) from error
    except UnreadableMemberError:
        # What is wrong with it may be that it is another file.
        check_version(where, member.version, fresh=True)
        raise
    check_version(where, member.version)
    return data


def _read(where: Where, member: Member, max_bytes: int) -> bytes:
    try:
        if member.kind in (PARQUET, ARROW):
            return _read_row(where, member, max_bytes)
        if member.kind in _BY_RANGE:
            return _BY_RANGE[member.kind](where, member, max_bytes)
        return _read_patiently(where, member, max_bytes)
    except DamagedArchiveError as error:
        raise UnreadableMemberError(str(error)) from error


@retried
def _read_patiently(where: Where, member: Member, max_bytes: int) -> bytes:
    with only_os_errors():
        try:
            return while_advancing(TIMEOUT_SECONDS, lambda: _OPENED[member.kind](where, member, max_bytes))
        except DamagedArchiveError as error:
            raise UnreadableMemberError(str(error)) from error


@retried
def _read_row(where: Where, member: Member, max_bytes: int) -> bytes:
    with only_os_errors():
        return PROCESS.row(where, member.start, member.size, member.detail, max_bytes)


def _ranges(where: Where) -> Callable[[int, int], bytes]:
    return lambda start, size: read_range(where.uri, start, size, where.fsspec_options, where.allow_private)


def _read_tar(where: Where, member: Member, max_bytes: int) -> bytes:
    return read_tar_member(_ranges(where), member, max_bytes)


def _read_inflated_tar(where: Where, member: Member, max_bytes: int) -> bytes:
    archive = spool(where, member.version)
    try:
        return read_tar_member(archive.read, member, max_bytes)
    except DamagedArchiveError as error:
        raise DamagedArchiveError(f"{error}; {archive.damage}") if archive.damage else error from None
    except (ReplacedError, FileTooLargeError):
        raise
    except Exception:
        forget(where, member.version)
        raise


def _read_zip(where: Where, member: Member, max_bytes: int) -> bytes:
    return read_zip_member(_ranges(where), member, max_bytes)


def _read_old_tar(where: Where, member: Member, max_bytes: int) -> bytes:
    return _whole(_ranges(where), member, max_bytes)


def _read_old_inflated_tar(where: Where, member: Member, max_bytes: int) -> bytes:
    return _whole(spool(where, "").read, member, max_bytes)


def _whole(read: Callable[[int, int], bytes], member: Member, max_bytes: int) -> bytes:
    if member.size > max_bytes:
        raise FileTooLargeError(f"it has {member.size} bytes, more than {max_bytes}; --max-bytes sets the limit")
    data = read(member.start, member.size)
    if len(data) != member.size:
        raise DamagedArchiveError(f"the archive ends after {len(data)} of the {member.size} bytes of this member")
    return data


def _read_old_zip(where: Where, member: Member, max_bytes: int) -> bytes:
    with where.open() as file:
        entry = next(itertools.islice(directory(file), member.start, None), None)
    if entry is None:
        raise DamagedArchiveError("the archive has no such member any more")
    found = zip_member(entry)
    if found.kind == UNREADABLE:
        raise DamagedArchiveError(found.detail)
    return read_zip_member(_ranges(where), found, max_bytes)


_BY_RANGE: dict[str, Callable[[Where, Member, int], bytes]] = {
    TAR: _read_tar,
    ZIP: _read_zip,
    OLD_TAR: _read_old_tar,
}
"""Kinds of which nothing is kept open, and whose reads are tried again one by one."""

_OPENED: dict[str, Callable[[Where, Member, int], bytes]] = {
    INFLATED_TAR: _read_inflated_tar,
    OLD_INFLATED_TAR: _read_old_inflated_tar,
    OLD_ZIP: _read_old_zip,
}
