"""The bytes of one member of a tar or a zip, found where a work item says, and only if it is that member still."""

import io
from collections.abc import Callable

from beamscribe.pipelines.sources import tar_source, tar_stream, zip_directory, zip_unpacking
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.versions import ReplacedError
from beamscribe.pipelines.work.work_item import UNREADABLE, ZIP, Member
from beamscribe.storage.uri import FileTooLargeError

ReadRange = Callable[[int, int], bytes]
"""Start and number of bytes → these bytes of the archive, fewer where it ends."""

SLACK = 2**12
"""Bytes of a local header of a zip, with name and extra field, that are read with the member's."""


def zip_member(entry: zip_directory.ZipEntry) -> Member:
    """What a work item keeps of a member of a zip."""
    trouble = zip_directory.trouble_of(entry)
    if trouble:
        return Member(UNREADABLE, 0, detail=trouble)
    check = zip_unpacking.name_check(entry.stored_name)
    return Member(ZIP, 0, entry.header, entry.packed, f"{entry.method} {entry.crc} {entry.size}", check)


def read_zip_member(read: ReadRange, member: Member, max_bytes: int) -> bytes:
    """The bytes of a member of a zip.

    Args:
        read: of the archive.
        member: as `zip_member` gave it.
        max_bytes: that it may have.

    Raises:
        FileTooLargeError: if it has more.
        DamagedArchiveError: if it is damaged, or not where the directory says.
    """
    method, crc, size = map(int, member.detail.split(" "))
    _bound(bytes_of_zip_member(member), max_bytes)
    data = read(member.start, member.size + SLACK)
    start = zip_unpacking.local_size(data, method, member.check)
    if len(data) < start + member.size:
        data = read(member.start, start + member.size)
    packed = data[start : start + member.size]
    if len(packed) < member.size:
        raise DamagedArchiveError(f"the archive ends after {len(packed)} of the {member.size} bytes of this member")
    return zip_unpacking.unpack(packed, method, size, crc)


def bytes_of_zip_member(member: Member) -> int:
    """Bytes of a member of a zip, as they are stored or inflated, whichever are more."""
    return max(int(member.detail.rpartition(" ")[2]), member.size)


def with_header(member: Member) -> Member:
    """A member with as many bytes as are read of it: of one of a zip, only its header in the archive says how many."""
    return member._replace(size=member.size + SLACK) if member.kind == ZIP else member


def read_tar_member(read: ReadRange, member: Member, max_bytes: int) -> bytes:
    """The bytes of a file in a tar, whose headers are read again.

    Args:
        read: of the archive.
        member: start and size of headers and bytes, and the digest of the headers.
        max_bytes: that it may have.

    Raises:
        FileTooLargeError: if it has more.
        ReplacedError: if something else is there now.
        DamagedArchiveError: if it is damaged, or its bytes cannot be told.
    """
    _bound(member.size - tar_stream.MAX_HEADER_BYTES, max_bytes)
    data = read(member.start, member.size)
    try:
        entry = next(tar_stream.walk(tar_source.SeekableSource(io.BytesIO(data), len(data))))
    except (StopIteration, DamagedArchiveError):
        raise ReplacedError from None
    if entry.check != member.check:
        raise ReplacedError
    _bound(entry.size if entry.sparse is None else max(entry.size, entry.sparse.size), max_bytes)
    return tar_stream.content(entry, data[entry.start :])


def _bound(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise FileTooLargeError(f"it has {size} bytes, more than {max_bytes}; --max-bytes sets the limit")
