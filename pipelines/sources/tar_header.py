"""Headers of a tar as bytes: the block before each member, the extended headers of pax and GNU, and maps of holes.

Formats: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual, "Basic Tar
Format" and "Storing Sparse Files". Nothing here trusts a number that it does not understand: Python's `tarfile` takes
such a one for 0, or a header for the end of the archive, and goes on with the bytes of another member.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.damage import DamagedArchiveError

BLOCK = 512

SPARSE_KEY = "GNU.sparse."
PAX_KEYS = ("path", "linkpath", "size", "SCHILY.realsize")
"""Keys of an extended header: what changes how the member is read, beside the keys of `SPARSE_KEY`."""

_LARGEST = 2**63 - 1
_OCTAL = re.compile(rb"[0-7]*")


class Block(NamedTuple):
    """A header block.

    Attributes:
        name: path of the member; bytes that are not UTF-8 are surrogates.
        type: one byte, the type flag.
        size: bytes that follow.
        link: path that a link names.
        data: the block itself.
    """

    name: str
    type: bytes
    size: int
    link: str
    data: bytes


class Sparse(NamedTuple):
    """A file with holes.

    Attributes:
        size: of the file with its holes, in bytes.
        parts: (offset, bytes) of what is stored; None: a list of them comes before the stored bytes.
    """

    size: int
    parts: tuple[tuple[int, int], ...] | None


def parse_block(data: bytes, at: int) -> Block:
    """A header block.

    Args:
        data: 512 bytes.
        at: their place in the archive, for messages.

    Raises:
        DamagedArchiveError: if they are no header, or one with numbers that make no sense.
    """
    if not _checksum_matches(data):
        raise DamagedArchiveError(f"no header at byte {at}")
    name = text(data[:100])
    # What GNU's own format has in the place of the prefix is times and maps of holes.
    if data[257:263] == b"ustar\0" and (prefix := text(data[345:500])):
        name = f"{prefix}/{name}"
    return Block(name, data[156:157], number(data[124:136], at), text(data[157:257]), data)


def is_block(data: bytes) -> bool:
    """Whether these bytes are a header, or end the archive."""
    return not data.strip(b"\0") or (len(data) == BLOCK and _checksum_matches(data))


def _checksum_matches(data: bytes) -> bool:
    told = _OCTAL.fullmatch(data[148:156].strip(b" \0"))
    if not told or not told[0]:
        return False
    expected = int(told[0], 8)
    blank = 8 * 32
    unsigned = sum(data) - sum(data[148:156]) + blank
    if unsigned == expected:
        return True
    # Some old writers added signed bytes.
    return unsigned - 256 * sum(byte > 127 for byte in data[:148] + data[156:]) == expected


def number(field: bytes, at: int) -> int:
    """A number of a header: octal digits, or binary where its first bit is set.

    Raises:
        DamagedArchiveError: if it is neither, negative or above 2⁶³.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True) if field[0] & 0x40 else _without_flag(field)
    else:
        digits = field.split(b"\0", 1)[0].strip(b" ")
        if not _OCTAL.fullmatch(digits):
            raise DamagedArchiveError(f"the header at byte {at} has no number where one must be: {digits!r}")
        value = int(digits or b"0", 8)
    if not 0 <= value <= _LARGEST:
        raise DamagedArchiveError(f"the header at byte {at} has a size that cannot be: {value}")
    return value


def _without_flag(field: bytes) -> int:
    return int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))


def text(field: bytes) -> str:
    """A name of a header, which ends at the first zero byte."""
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def parse_pax(data: bytes, at: int) -> list[tuple[str, bytes]]:
    """The records of an extended header that matter, in order; those without a value take nothing back.

    Args:
        data: `LENGTH KEY=VALUE`, a newline after each.
        at: their place in the archive, for messages.

    Raises:
        DamagedArchiveError: if they are not of this form.
    """
    records: list[tuple[str, bytes]] = []
    start = 0
    while start < len(data) and data[start]:
        space = data.find(b" ", start, start + 20)
        digits = data[start:space] if space > 0 else b""
        end = start + int(digits) if digits.isdigit() else 0
        equals = data.find(b"=", space, end)
        if equals < 0 or end > len(data) or data[end - 1] != ord("\n"):
            raise DamagedArchiveError(f"the extended header at byte {at} is no list of records")
        key = data[space + 1 : equals].decode("utf-8", "replace")
        value = data[equals + 1 : end - 1]
        if value and (key in PAX_KEYS or key.startswith(SPARSE_KEY)):
            records.append((key, value))
        start = end
    return records


def decimal(value: bytes, at: int) -> int:
    """A number of an extended header.

    Raises:
        DamagedArchiveError: if it is none, or above 2⁶³.
    """
    if not value.isdigit() or len(value) > 19 or int(value) > _LARGEST:
        raise DamagedArchiveError(f"the extended header at byte {at} has no size where one must be: {value[:40]!r}")
    return int(value)


def pax_sparse(records: list[tuple[str, bytes]], at: int) -> Sparse | None:
    """What an extended header tells of holes, in GNU's formats 0.0, 0.1 and 1.0; None: nothing.

    Raises:
        DamagedArchiveError: if it makes no sense.
    """
    found = dict(records)
    if not any(key.startswith(SPARSE_KEY) for key in found):
        return None
    sizes = [found[key] for key in ("GNU.sparse.realsize", "GNU.sparse.size") if key in found]
    if not sizes:
        raise DamagedArchiveError(f"the extended header at byte {at} tells of a sparse file without its size")
    size = decimal(sizes[0], at)
    if (found.get("GNU.sparse.major"), found.get("GNU.sparse.minor")) == (b"1", b"0"):
        return Sparse(size, None)
    if "GNU.sparse.major" in found and found["GNU.sparse.major"] != b"0":
        raise DamagedArchiveError(f"the extended header at byte {at} tells of a sparse file in an unknown format")
    if "GNU.sparse.map" in found:
        numbers = [decimal(value, at) for value in found["GNU.sparse.map"].split(b",")]
    else:
        numbers = [decimal(value, at) for key, value in records if key in ("GNU.sparse.offset", "GNU.sparse.numbytes")]
    if len(numbers) % 2:
        raise DamagedArchiveError(f"the extended header at byte {at} has half of a sparse file's map")
    return Sparse(size, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def gnu_parts(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """The (offset, bytes) that a block of GNU's old sparse format lists.

    Args:
        data: a multiple of 24 bytes.
        at: the header's place in the archive, for messages.
    """
    for start in range(0, len(data), 24):
        if data[start : start + 24].strip(b"\0"):
            yield number(data[start : start + 12], at), number(data[start + 12 : start + 24], at)


def fill_holes(sparse: Sparse, stored: bytes) -> bytes:
    """A file with its holes.

    Args:
        sparse: what its header says; its size is bounded by the caller.
        stored: what is in the archive.

    Raises:
        DamagedArchiveError: if both do not fit each other.
    """
    parts, start = (sparse.parts, 0) if sparse.parts is not None else _stored_map(stored)
    filled = bytearray(sparse.size)
    last = 0
    for offset, size in parts:
        if offset < last or offset + size > sparse.size or start + size > len(stored):
            raise DamagedArchiveError("its map of a sparse file does not fit what is stored")
        filled[offset : offset + size] = stored[start : start + size]
        start, last = start + size, offset + size
    if start != len(stored):
        raise DamagedArchiveError("its map of a sparse file does not fit what is stored")
    return bytes(filled)


def _stored_map(stored: bytes) -> tuple[tuple[tuple[int, int], ...], int]:
    """The map in front of the bytes of format 1.0: lines of decimal numbers, filled up to whole blocks."""
    at = 0

    def line() -> int:
        nonlocal at
        end = stored.find(b"\n", at, at + 24)
        if end < 0 or not stored[at:end].isdigit():
            raise DamagedArchiveError("the map of this sparse file is damaged")
        value, at = int(stored[at:end]), end + 1
        return value

    parts = tuple((line(), line()) for _ in range(min(line(), len(stored))))
    return parts, -(-at // BLOCK) * BLOCK
