"""gzip inflated block by block through the C library, so that a reader can begin again in the middle of a file.

Python's zlib cannot: it tells neither where a block of compressed bytes ends nor what was known there. The points at
which one can begin are those of zran.c, an example of zlib: the place of a block, and the 32 KiB inflated before it.
"""

import ctypes
import functools
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

WINDOW = 2**15
"""Bytes before a block that it may refer to."""

SPACING = 2**19
"""Inflated bytes between two points, at least."""

_BLOCKS_ONLY, _WITH_HEADER = -15, 31
_OK, _STREAM_END, _NO_PROGRESS = 0, 1, -5
_TO_END_OF_BLOCK = 5
_AT_END_OF_BLOCK, _IN_LAST_BLOCK, _BITS = 128, 64, 7
_TRAILER = 8
"""Bytes behind the blocks of a member: the checksum and the length of what is inside."""


class Point(NamedTuple):
    """A place in a file of gzip at which inflating can begin.

    Attributes:
        compressed: byte of the file at which a block begins.
        bits: of the byte before, that belong to the block.
        before: that byte.
        inflated: bytes of the whole file that are inflated before.
        length: of these, those of the same member.
        checksum: CRC-32 of those of the same member.
        window: the last of them, at most `WINDOW`.
    """

    compressed: int
    bits: int
    before: int
    inflated: int
    length: int
    checksum: int
    window: bytes

    @property
    def position(self) -> int:
        """By which points are in order."""
        return self.inflated


class _Stream(ctypes.Structure):
    """z_stream, as zlib.h has it."""

    _fields_ = (
        ("next_in", ctypes.c_char_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


@functools.cache
def library() -> Any:
    """zlib, or None where this machine has none that can be loaded."""
    try:
        found = ctypes.CDLL("libz.dylib" if sys.platform == "darwin" else "libz.so.1")
        found.zlibVersion.restype = ctypes.c_char_p
        _ = found.inflateGetDictionary  # Older ones than 1.2.8 do not tell the window.
    except (OSError, AttributeError):
        return None
    return found


class BlockInflater:
    """Inflates one member of a file; the interface is that of `bz2.BZ2Decompressor`.

    Attributes:
        eof: whether the member has ended.
        unused_data: what was given and is behind the member.
    """

    def __init__(self, compressed: int, inflated: int, note: Callable[[Point], None], point: Point | None = None):
        """Begins with a member, or inside it.

        Args:
            compressed: byte of the file at which the member begins, or the point is.
            inflated: bytes of the whole file that are inflated before.
            note: is told where inflating can begin.
            point: inside the member.
        """
        self.eof, self.unused_data = False, b""
        self._compressed, self._inflated, self._note, self._inside = compressed, inflated, note, point is not None
        self._length, self._checksum = (point.length, point.checksum) if point else (0, 0)
        self._before, self._kept, self._blocks_ended = point.before if point else 0, b"", False
        self._next_point = inflated + SPACING
        self._stream = _Stream()
        self._call("inflateInit2_", _BLOCKS_ONLY if point else _WITH_HEADER, library().zlibVersion(), _SIZE)
        if point:
            if point.bits:
                self._call("inflatePrime", point.bits, point.before >> (8 - point.bits))
            self._call("inflateSetDictionary", point.window, len(point.window))

    def __del__(self) -> None:
        library().inflateEnd(ctypes.byref(self._stream))

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """What the bytes become that were given now and before, as far as it was not yet told.

        Args:
            data: the next bytes of the file.
            max_length: bytes that are told at most.

        Raises:
            zlib.error: if they are damaged.
        """
        data, self._kept = self._kept + data, b""
        if self._blocks_ended:
            self._end(data)
            return b""
        out = ctypes.create_string_buffer(max_length)
        stream = self._stream
        stream.next_in, stream.avail_in = data, len(data)
        stream.next_out, stream.avail_out = ctypes.addressof(out), max_length
        while True:
            code = self._call("inflate", _TO_END_OF_BLOCK)
            flags, made = stream.data_type, max_length - stream.avail_out
            if flags & _AT_END_OF_BLOCK and not flags & _IN_LAST_BLOCK and self._inflated + made >= self._next_point:
                self._tell_point(data[: len(data) - stream.avail_in], ctypes.string_at(out, made), flags & _BITS)
            if code != _OK or not stream.avail_in or not stream.avail_out:
                break
        used = len(data) - stream.avail_in
        piece = ctypes.string_at(out, max_length - stream.avail_out)
        self._passed(data[:used], piece)
        if code == _STREAM_END:
            self._blocks_ended = True
            self._end(data[used:])
        else:
            self._kept = data[used:]
        return piece

    def _passed(self, used: bytes, piece: bytes) -> None:
        self._compressed += len(used)
        self._inflated += len(piece)
        self._length += len(piece)
        self._checksum = zlib.crc32(piece, self._checksum)
        self._before = used[-1] if used else self._before

    def _tell_point(self, used: bytes, piece: bytes, bits: int) -> None:
        window, size = ctypes.create_string_buffer(WINDOW), ctypes.c_uint()
        self._call("inflateGetDictionary", window, ctypes.byref(size))
        inflated = self._inflated + len(piece)
        self._next_point = inflated + SPACING
        self._note(
            Point(
                compressed=self._compressed + len(used),
                bits=bits,
                before=used[-1] if used else self._before,
                inflated=inflated,
                length=self._length + len(piece),
                checksum=zlib.crc32(piece, self._checksum),
                window=window.raw[: size.value],
            )
        )

    def _end(self, data: bytes) -> None:
        """The member has no more blocks, and this comes behind them."""
        if self._inside:
            # Only who has begun with the header is told by zlib whether the trailer is right.
            if len(data) < _TRAILER:
                self._kept = data
                return
            expected = self._checksum.to_bytes(4, "little") + (self._length % 2**32).to_bytes(4, "little")
            if data[:_TRAILER] != expected:
                raise zlib.error("Error -3 while decompressing data: incorrect data check")
            data = data[_TRAILER:]
        self.eof, self.unused_data = True, data

    def _call(self, function: str, *arguments: Any) -> int:
        code = getattr(library(), function)(ctypes.byref(self._stream), *arguments)
        if code not in (_OK, _STREAM_END, _NO_PROGRESS):
            message = f": {self._stream.msg.decode()}" if self._stream.msg else ""
            raise zlib.error(f"Error {code} while decompressing data{message}")
        return code


_SIZE = ctypes.sizeof(_Stream)
