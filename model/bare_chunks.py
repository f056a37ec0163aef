"""PNG and WebP without their metadata: formats of named chunks, which are found again after a damaged one."""

import re
import struct
import zlib

from beamscribe.model.bare_file import Bare

_MOST_CANDIDATES = 256
"""Places at which a chunk may begin that are tried after a damaged one."""

# PNG: https://www.w3.org/TR/png-3/. An animation's chunks are left out: what remains is its default image.
_PNG_CHUNK = struct.Struct(">I4s")
_PNG_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_PNG_KNOWN = _PNG_PIXELS.union(
    (b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"tIME", b"iTXt", b"tEXt")
    + (b"zTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"cICP", b"mDCV", b"cLLI")
)
_PNG_NAMES = re.compile(rb"PLTE|tRNS|IDAT|IEND")
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"


def bare_png(data: bytes) -> Bare:
    """A PNG with the chunks that decide pixels alone."""
    kept, kept_bytes = [data[:8]], 8
    exif: bytes | None = None
    xmp: bytes | None = None
    damaged, frames, before_pixels, own_frame = False, 1, True, False
    position: int | None = 8
    while position is not None and position + 8 <= len(data):
        length, name = _PNG_CHUNK.unpack_from(data, position)
        start, end = position + 8, position + 12 + length
        if name in _PNG_PIXELS and (end <= len(data) or name == b"IDAT"):
            kept.append(data[position:end])
            kept_bytes += len(kept[-1])
            before_pixels &= name != b"IDAT"
            if name == b"IEND":
                break
            position = end
            continue
        whole = _png_whole(data, position, end)
        if name == b"eXIf":
            exif, damaged = (b"Exif\0\0" + data[start : end - 4], damaged) if whole else (exif, True)
        elif whole and name == b"iTXt" and data.startswith(_PNG_XMP, start):
            xmp = data[start + len(_PNG_XMP) : end - 4]
        elif whole and name == b"acTL" and length >= 8:
            frames = int.from_bytes(data[start : start + 4], "big")
        elif whole and name == b"fcTL":
            own_frame |= before_pixels  # the default image is the first frame, not one before it
        # A checksum that is wrong may mean that the length is: the next chunk must begin where this one ends.
        follows = whole or data[end + 4 : end + 8] in _PNG_KNOWN
        position = end if follows else _next_png_chunk(data, position + 1)
    more = frames > 1 or (frames == 1 and not own_frame and b"acTL" in data)
    return Bare(b"".join(kept), len(data) - kept_bytes, exif, xmp, more, damaged)


def _png_whole(data: bytes, position: int, end: int) -> bool:
    view = memoryview(data)[position + 4 : end - 4]
    return end <= len(data) and zlib.crc32(view) == int.from_bytes(data[end - 4 : end], "big")


def _next_png_chunk(data: bytes, position: int) -> int | None:
    """Where the next chunk of pixels with a right checksum begins."""
    budget = 2 * len(data)
    for _, found in zip(range(_MOST_CANDIDATES), _PNG_NAMES.finditer(data, position + 4), strict=False):
        start = found.start() - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end <= len(data):
            budget -= end - start
            if budget < 0:
                break
            if _png_whole(data, start, end):
                return start
    return None


# WebP: https://developers.google.com/speed/webp/docs/riff_container
_WEBP_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_WEBP_NAMES = re.compile(rb"VP8 |VP8L|ALPH|ANIM|ANMF")
_WEBP_METADATA_FLAGS = 0x20 | 0x08 | 0x04  # a profile, EXIF, XMP


def bare_webp(data: bytes) -> Bare:
    """A WebP with the chunks that decide pixels alone."""
    kept: list[bytes] = []
    found: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + size + (size & 1)
        if name in _WEBP_PIXELS:
            chunk = data[position:end]
            if name == b"VP8X" and len(chunk) > 8:
                chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_METADATA_FLAGS]) + chunk[9:]
            kept.append(chunk)
        else:
            found[name] = data[position + 8 : position + 8 + size]
            if end < len(data) and not re.match(rb"[A-Z0-9 ]{4}", data[end : end + 4]) or end > len(data) + 1:
                end = _next_webp_chunk(data, position + 8)
        position = end
    body = b"WEBP" + b"".join(kept)
    bare = b"RIFF" + len(body).to_bytes(4, "little") + body
    return Bare(bare, len(data) - len(bare), found.get(b"EXIF"), found.get(b"XMP "))


def _next_webp_chunk(data: bytes, position: int) -> int:
    """Where the next chunk of pixels that lies within the file begins; the file's length if there is none."""
    for _, found in zip(range(_MOST_CANDIDATES), _WEBP_NAMES.finditer(data, position), strict=False):
        if found.end() + 4 + int.from_bytes(data[found.end() : found.end() + 4], "little") <= len(data):
            return found.start()
    return len(data)
