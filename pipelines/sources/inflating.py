"""Compressed files inflated piece by piece, to the end of their last member, within bounds that no file can lift."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pyarrow as pa

from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.gzip_blocks import BlockInflater, Point, library
from beamscribe.storage.advancing import advanced

PIECE = 2**18
"""Bytes inflated at a time."""

AT_ONCE = 512
"""Bytes of these that pyarrow is asked for at a time: where it finds damage, it keeps all of them to itself."""

READ = 2**16
"""Bytes read at a time."""

MEMORY = 2**28
"""Bytes that a file may have its decompressor allocate; `xz -9` takes a quarter of it."""

ALLOWANCE, RATIO = 2**29, 100
"""A file may inflate to so many bytes, and to so many more for each of its own. Photographs do not compress; pictures
without compression may, by more than this only if they are large and empty."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's object with the interface of those of bz2 and lzma: it keeps what it was given and has not used."""

    def __init__(self) -> None:
        self._object, self._kept = zlib.decompressobj(16 + zlib.MAX_WBITS), b""

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        found = self._object.decompress(self._kept + data, max_length)
        self._kept = self._object.unconsumed_tail
        return found


_DECOMPRESSORS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    ".gz": (b"\x1f\x8b", _Gzip),
    ".tgz": (b"\x1f\x8b", _Gzip),
    ".bz2": (b"BZh", bz2.BZ2Decompressor),
    ".xz": (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)),
}
"""By the suffix of the file: how each of its members begins, and what inflates one."""

ZSTD = ".zst"

COMPRESSED = (*_DECOMPRESSORS, ZSTD)
"""Suffixes of files that can be inflated."""


def tells_points(suffix: str) -> bool:
    """Whether files of a suffix can be inflated from their middle on."""
    return _DECOMPRESSORS.get(suffix, ("", None))[1] is _Gzip and library() is not None


def inflated(
    file: _Readable, suffix: str, note: Callable[[Point], None] | None = None, point: Point | None = None
) -> Iterator[bytes]:
    """What is inside a compressed file: its members one after the other, with zeros between and behind them left out.

    Args:
        file: at its beginning, or at a point of it.
        suffix: of its name, one of `COMPRESSED`.
        note: is told where inflating can begin; only where `tells_points`.
        point: where it begins, one that `note` was told; only with `note`.

    Raises:
        DamagedArchiveError: where it ends early, is damaged, has something else behind its members, or inflates beyond
            its bounds; what comes before has been yielded.
    """
    consumed = [point.compressed if point else 0]
    made = point.inflated if point else 0
    members = _members(file, suffix, consumed, note, point)
    for piece in _zstd(file, consumed) if suffix == ZSTD else members:
        yield piece
        advanced(len(piece))
        made += len(piece)
        if made > ALLOWANCE + RATIO * consumed[0]:
            raise DamagedArchiveError(
                f"it inflates to more than {RATIO} times its size and {ALLOWANCE} bytes: the rest is not read"
            )


def _members(
    file: _Readable, suffix: str, consumed: list[int], note: Callable[[Point], None] | None, point: Point | None
) -> Iterator[bytes]:
    magic, new = _DECOMPRESSORS[suffix]
    data, first = _read(file, consumed), point is None
    made = point.inflated if point else 0
    while True:
        while data and len(data) < len(magic) and (more := _read(file, consumed)):
            data += more
        if not point and not data.startswith(magic):
            if first:
                raise DamagedArchiveError(f"it does not begin as a {suffix} file does")
            raise DamagedArchiveError(
                f"something else follows its compressed bytes, at byte {consumed[0] - len(data)}; the rest is not read"
            )
        member: _Decompressor = BlockInflater(consumed[0] - len(data), made, note, point) if note else new()
        for piece in _member(member, data, file, consumed):
            made += len(piece)
            yield piece
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := _read(file, consumed)):
            data = more.lstrip(b"\0")
        if not data:
            return
        first, point = False, None


def _member(member: _Decompressor, data: bytes, file: _Readable, consumed: list[int]) -> Iterator[bytes]:
    ended = False
    while not member.eof:
        try:
            piece = member.decompress(data, PIECE)
        except (OSError, zlib.error, lzma.LZMAError) as error:
            raise DamagedArchiveError(f"its compressed bytes before byte {consumed[0]} are damaged: {error}") from error
        if piece:
            yield piece
            data = b""
        elif ended and not member.eof:
            raise DamagedArchiveError(f"its compressed bytes end early, at byte {consumed[0]}")
        elif not member.eof:
            data = _read(file, consumed)
            ended = not data


def _read(file: _Readable, consumed: list[int]) -> bytes:
    data = file.read(READ)
    consumed[0] += len(data)
    advanced(len(data))
    return data


class _Counted:
    """A file as pyarrow reads it, which counts."""

    closed = False

    def __init__(self, file: _Readable, consumed: list[int]) -> None:
        self._file, self._consumed = file, consumed

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._consumed[0] += len(data)
        return data

    def close(self) -> None:
        """The file is its opener's to close."""


def _zstd(file: _Readable, consumed: list[int]) -> Iterator[bytes]:
    stream = pa.CompressedInputStream(pa.PythonFile(_Counted(file, consumed), "r"), "zstd")
    ended = False
    while not ended:
        found: list[bytes] = []
        try:
            while len(found) < PIECE // AT_ONCE and not ended:
                found.append(stream.read(AT_ONCE))
                ended = not found[-1]
        except (pa.ArrowException, OSError) as error:
            yield b"".join(found)
            # pyarrow calls what is damaged an OSError, but one without a number.
            if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
                raise
            raise DamagedArchiveError(f"its compressed bytes before byte {consumed[0]} are damaged: {error}") from error
        yield b"".join(found)
