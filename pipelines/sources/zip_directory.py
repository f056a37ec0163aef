"""Members of a zip by its directory, which stands at its end.

Format: PKWARE's APPNOTE.TXT 6.3.10. The directory is read entry by entry, so that a million of them take no
memory, and no size that it tells is allocated before as many bytes have come.
"""

import array
import bisect
import contextlib
import io
import struct
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.zip_unpacking import ENCRYPTED, LOCAL, METHODS

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_CHUNK = 2**20
_TAILS = (2**14, 2**16 + _END.size)
"""Bytes at the end in which the end record is looked for: few archives have a long comment behind it."""

_UTF8 = 0x800
_WIDE, _LARGEST = 2**32 - 1, 2**64 - 1


class ZipEntry(NamedTuple):
    """A member.

    Attributes:
        name: its path; bytes that are not UTF-8, though they should be, are surrogates.
        stored_name: its bytes.
        flags: of the entry.
        method: how it is compressed.
        crc: CRC-32 of its bytes.
        packed: bytes as they are stored.
        size: bytes of the file.
        header: first byte of its local header.
        mode: as Unix has it; 0: the writer did not tell.
        trouble: why its bytes cannot be told; empty: they can.
    """

    name: str
    stored_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    mode: int
    trouble: str


class _Directory(NamedTuple):
    """Where the directory is.

    Attributes:
        start: first byte.
        size: bytes.
        told: entries, as the end record has it.
        exact: whether that number is one of 64 bits, not what remains of it in 16.
        before: bytes in front of the archive, by which all of its offsets are too small; below 0: bytes are missing.
    """

    start: int
    size: int
    told: int
    exact: bool
    before: int


def directory(file: IO[bytes]) -> Iterator[ZipEntry]:
    """The members in the order of the directory.

    Raises:
        DamagedArchiveError: where the directory is damaged, after the entries before that place.
    """
    where = _find(file)
    # A member ends where the next begins, or the directory; two that share bytes are how 40 KB become gigabytes.
    starts = array.array("Q")
    before = max(0, where.before)
    # A damaged entry is met again where it is to be told.
    with contextlib.suppress(DamagedArchiveError):
        for fields, after in _records(file, where):
            start = fields[-1] if fields[-1] != _WIDE else _entry(fields, after, 0).header
            starts.append(min(start + before, _LARGEST))
    starts = array.array("Q", sorted(starts))
    count = 0
    for fields, after in _records(file, where):
        count += 1
        entry = _entry(fields, after, before)
        trouble = entry.trouble or _trouble(entry, where, starts)
        yield entry._replace(trouble=trouble) if trouble else entry
    if where.before < 0:
        raise DamagedArchiveError(f"{-where.before} bytes before its directory are missing")
    if count != where.told and (where.exact or (count - where.told) % 2**16):
        raise DamagedArchiveError(f"its directory has {count} members, its end record tells {where.told}")


def _trouble(entry: ZipEntry, where: _Directory, starts: "array.array[int]") -> str:
    end = entry.header + LOCAL.size + len(entry.stored_name) + entry.packed
    if end > where.start:
        return "its bytes would reach into the archive's directory"
    after = bisect.bisect_right(starts, entry.header)
    if after - bisect.bisect_left(starts, entry.header) > 1 or (after < len(starts) and end > starts[after]):
        return "it shares bytes with another member"
    return ""


def _find(file: IO[bytes]) -> _Directory:
    length = file.seek(0, io.SEEK_END)
    tail, data, at = length, b"", -1
    for most in _TAILS:
        tail = max(0, length - most)
        file.seek(tail)
        data = _read(file, length - tail)
        at, ends = _end_record(data)
        # The locator of zip64 stands before it.
        if (ends and at >= _LOCATOR64.size) or not tail:
            break
    if at < 0:
        raise DamagedArchiveError("it has no directory at its end: it is no zip file, or cut off")
    _, disk, _, _, count, size, offset, _ = _END.unpack_from(data, at)
    end, exact = tail + at, False
    locator = at - _LOCATOR64.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        _, disk, told, _ = _LOCATOR64.unpack_from(data, locator)
        # Where something stands in front of the archive, it is right before its locator and not where that says.
        for place in (told, tail + locator - _END64.size):
            if 0 <= place <= tail + locator - _END64.size:
                file.seek(place)
                found = _read(file, _END64.size)
                if found[:4] == b"PK\x06\x06" and len(found) == _END64.size:
                    break
        else:
            raise DamagedArchiveError("its zip64 end record is not where its locator says")
        _, _, _, _, disk, _, _, count, size, offset = _END64.unpack(found)
        end, exact = place, True
    if disk:
        raise DamagedArchiveError("it is one part of an archive of several files")
    if size > end:
        raise DamagedArchiveError(f"its directory of {size} bytes does not fit into its {length} bytes")
    return _Directory(end - size, size, count, exact, end - size - offset)


def _end_record(data: bytes) -> tuple[int, bool]:
    """Where the last end record is in the last bytes of a zip, -1 for none, and whether its comment ends with them.

    One that ends so is preferred: a comment may look like such a record.
    """
    last, at = -1, len(data)
    while (at := data.rfind(b"PK\x05\x06", 0, at)) >= 0:
        if len(data) - at < _END.size:
            continue
        last = max(last, at)
        if at + _END.size + _END.unpack_from(data, at)[-1] == len(data):
            return at, True
    return last, False


def _records(file: IO[bytes], where: _Directory) -> Iterator[tuple[tuple[Any, ...], bytes]]:
    """The entries: the fields of each, and what follows them."""
    at, left = where.start, where.size
    data, start = b"", 0
    while left:
        if len(data) - start < 2**18 and len(data) - start < left:
            file.seek(at + len(data) - start)
            data, start = data[start:] + _read(file, min(_CHUNK, left - len(data) + start)), 0
        if data[start : start + 4] != b"PK\x01\x02" or len(data) - start < _ENTRY.size:
            raise DamagedArchiveError(f"no entry of its directory at byte {at}")
        fields = _ENTRY.unpack_from(data, start)
        size = _ENTRY.size + fields[10] + fields[11] + fields[12]
        if size > min(left, len(data) - start):
            raise DamagedArchiveError(f"the entry of its directory at byte {at} does not end")
        yield fields, data[start + _ENTRY.size : start + size]
        at, start, left = at + size, start + size, left - size


def _entry(fields: tuple[Any, ...], after: bytes, before: int) -> ZipEntry:
    _, made_by, _, flags, method, _, _, crc, packed, size, name_size, extra_size, _, _, _, attributes, header = fields
    stored_name = after[:name_size]
    name = stored_name.decode("utf-8", "surrogateescape") if flags & _UTF8 else stored_name.decode("cp437")
    trouble = ""
    if _WIDE in (packed, size, header):
        wide = _zip64(after[name_size : name_size + extra_size])
        needed = [value == _WIDE for value in (size, packed, header)]
        if len(wide) < sum(needed):
            trouble = "the directory does not tell its size"
        else:
            numbers = iter(wide)
            size, packed, header = (
                next(numbers) if wanted else value for wanted, value in zip(needed, (size, packed, header), strict=True)
            )
    mode = attributes >> 16 if made_by >> 8 == 3 else 0
    return ZipEntry(name, stored_name, flags, method, crc, packed, size, header + before, mode, trouble)


def _zip64(extra: bytes) -> tuple[int, ...]:
    start = 0
    while start + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, start)
        if kind == 1:
            data = extra[start + 4 : start + 4 + size]
            return struct.unpack_from(f"<{len(data) // 8}Q", data)
        start += 4 + size
    return ()


def _read(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def trouble_of(entry: ZipEntry) -> str:
    """Why the bytes of a member cannot be told; empty: they can."""
    if entry.trouble:
        return entry.trouble
    if entry.flags & ENCRYPTED:
        return "it is encrypted"
    if entry.method not in METHODS:
        return f"it is compressed by method {entry.method}; what is read is {', '.join(METHODS.values())}"
    return ""
