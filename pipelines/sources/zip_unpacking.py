"""The bytes of a zip's member: its local header, and what is compressed behind it.

Format: PKWARE's APPNOTE.TXT 6.3.10. No more is inflated than the directory tells.
"""

import bz2
import hashlib
import lzma
import struct
import zlib

import pyarrow as pa

from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.inflating import MEMORY

STORED, DEFLATED, BZIP2, LZMA, ZSTD = 0, 8, 12, 14, 93
METHODS = {STORED: "stored", DEFLATED: "deflate", BZIP2: "bzip2", LZMA: "LZMA", ZSTD: "Zstandard"}
"""Ways to compress that are read."""

LOCAL = struct.Struct("<4s5H3L2H")
"""The header before a member's bytes: 30 bytes, then its name and its extra field."""

ENCRYPTED = 0x1
"""The flag of an entry or a local header whose bytes are encrypted."""


def name_check(stored_name: bytes) -> str:
    """A digest of a member's name, by which a work item tells it from another."""
    return hashlib.blake2b(stored_name, digest_size=6).hexdigest()


def local_size(data: bytes, method: int, check: str) -> int:
    """Bytes of a local header with its name and extra field, after which those of the member come.

    Args:
        data: from the local header on; more of it than the name.
        method: how the directory says that the member is compressed.
        check: `name_check` of its name in the directory.

    Raises:
        DamagedArchiveError: if it is no header, or that of another member.
    """
    if len(data) < LOCAL.size or data[:4] != b"PK\x03\x04":
        raise DamagedArchiveError("its header is not where the directory says")
    _, _, flags, stored_method, _, _, _, _, _, name_size, extra_size = LOCAL.unpack_from(data)
    if flags & ENCRYPTED:
        raise DamagedArchiveError("it is encrypted")
    if stored_method != method or name_check(data[LOCAL.size : LOCAL.size + name_size]) != check:
        raise DamagedArchiveError("its header is that of another member than the directory says")
    return LOCAL.size + name_size + extra_size


def unpack(packed: bytes, method: int, size: int, crc: int) -> bytes:
    """The bytes of a member.

    Args:
        packed: as they are stored.
        method: one of `METHODS`.
        size: of the file, as the directory tells it; no more is inflated.
        crc: CRC-32 of its bytes.

    Raises:
        DamagedArchiveError: if they are damaged, or not as many as the directory says.
    """
    try:
        data = _inflate(method, packed, size + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, pa.ArrowException) as error:
        raise DamagedArchiveError(f"its compressed bytes are damaged: {error}") from error
    if len(data) != size:
        more = "more" if len(data) > size else "fewer"
        raise DamagedArchiveError(f"it holds {more} than the {size} bytes that the directory tells")
    if zlib.crc32(data) != crc:
        raise DamagedArchiveError(f"Bad CRC-32: its bytes give {zlib.crc32(data):08x}, the directory tells {crc:08x}")
    return data


def _inflate(method: int, packed: bytes, limit: int) -> bytes:
    """At most so many bytes."""
    if method == STORED:
        return packed[:limit]
    if method == DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, limit)
    if method == BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, limit)
    if method == ZSTD:
        return pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read(limit)
    # A zip has version and length in front of LZMA's properties, and not the size that its own files have.
    length = struct.unpack_from("<H", packed, 2)[0] if len(packed) >= 4 else 0
    if length != 5:
        raise DamagedArchiveError("its LZMA header is damaged")
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MEMORY)
    return decompressor.decompress(packed[4:9] + b"\xff" * 8 + packed[9:], limit)
