"""Tars made block by block, with what Python's `tarfile` never writes."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

import pyarrow as pa

BLOCK = 512
END = bytes(2 * BLOCK)

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def padded(data: bytes) -> bytes:
    """Filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def octal(value: int, width: int = 12) -> bytes:
    """A number of a header."""
    return b"%0*o\0" % (width - 1, value)


def header(
    name: bytes,
    size: bytes | int = 0,
    type: bytes = b"0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    at: dict[int, bytes] | None = None,
) -> bytes:
    """A header block with its checksum."""
    block = bytearray(BLOCK)
    places = {0: name, 100: b"0000644\0", 124: octal(size) if isinstance(size, int) else size, 136: octal(0)}
    places |= {156: type, 157: link, 257: magic, **(at or {})}
    for place, value in places.items():
        block[place : place + len(value)] = value
    block[148:156] = b"%06o\0 " % (sum(block) + 256 - sum(block[148:156]))
    return bytes(block)


def member(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    """A header, and the bytes of a file."""
    return header(name, **{"size": len(data), **fields}) + padded(data)  # type: ignore[arg-type]


def pax(records: list[tuple[str, bytes]], type: bytes = b"x") -> bytes:
    """An extended header."""
    data = b"".join(_record(key.encode(), value) for key, value in records)
    return member(b"PaxHeader", data, type=type)


def _record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    size += len(str(size + len(str(size))))
    return b"%d %s=%s\n" % (size, key, value)


def by_tarfile(files: list[tuple[str, bytes]], format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar as Python writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()
