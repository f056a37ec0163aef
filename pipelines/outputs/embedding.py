"""XMP inside of JPEG, PNG and WebP files; every byte that is not XMP stays as it is, those of the pixels among them."""

import struct
import zlib
from collections.abc import Iterator

from beamscribe.pipelines.outputs.alt_text import PacketError, merged, packet

JPEG_KEY = b"http://ns.adobe.com/xap/1.0/\0"
MOST_SEGMENT = 65_533
PNG_BEGIN, PNG_KEY = b"\x89PNG\r\n\x1a\n", b"XML:com.adobe.xmp\0"
XMP_FLAG, ALPHA_FLAG = 0x04, 0x10


class UnfitError(ValueError):
    """A file cannot be given XMP."""


def embedded(image: bytes, caption: str) -> bytes:
    """The image's file with the alternative text of a caption in its XMP, what other XMP it has stays.

    Args:
        image: bytes of a JPEG, PNG or WebP file.
        caption: its text; empty: the image is decorative.

    Raises:
        UnfitError: if it is another kind of file, damaged, or its XMP cannot be read.
    """
    try:
        if image.startswith(b"\xff\xd8"):
            return _jpeg(image, caption)
        if image.startswith(PNG_BEGIN):
            return _png(image, caption)
        if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
            return _webp(image, caption)
    except PacketError as error:
        raise UnfitError(str(error)) from error
    except (struct.error, IndexError, zlib.error) as error:
        raise UnfitError("the file is damaged") from error
    raise UnfitError("no JPEG, PNG or WebP")


def _xmp(existing: bytes | None, caption: str) -> bytes:
    return packet(caption).encode() if existing is None else merged(existing, caption)


def _jpeg(image: bytes, caption: str) -> bytes:
    at, place, existing, kept = 2, 2, None, []
    while image[at] == 0xFF and (0xE0 <= image[at + 1] <= 0xEF or image[at + 1] == 0xFE):
        end = at + 2 + struct.unpack(">H", image[at + 2 : at + 4])[0]
        segment = image[at:end]
        if len(segment) < end - at:
            raise UnfitError("the file is damaged")
        if segment[1] == 0xE1 and segment[4:].startswith(JPEG_KEY):
            existing = segment[4 + len(JPEG_KEY) :]
        else:
            kept.append(segment)
            # Behind JFIF and Exif, which readers look for first.
            if segment[1] == 0xE0 or segment[4:10] == b"Exif\0\0":
                place = 2 + sum(map(len, kept))
        at = end
    data = JPEG_KEY + _xmp(existing, caption)
    if len(data) > MOST_SEGMENT:
        raise UnfitError("its XMP is too long for a JPEG file")
    head = image[:2] + b"".join(kept)
    return head[:place] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + head[place:] + image[at:]


def _png(image: bytes, caption: str) -> bytes:
    chunks, at, existing = [], len(PNG_BEGIN), None
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        chunk = image[at : at + 12 + length]
        if len(chunk) < 12 + length:
            # What follows a cut-off chunk is no more than the file had.
            chunks.append(image[at:])
            break
        if chunk[4:8] == b"iTXt" and chunk[8:].startswith(PNG_KEY):
            compressed, rest = chunk[8 + len(PNG_KEY)], chunk[10 + len(PNG_KEY) : -4]
            text = rest.split(b"\0", 2)[2]
            existing = zlib.decompressobj().decompress(text, 2**24) if compressed else text
        else:
            chunks.append(chunk)
        at += len(chunk)
    if not chunks or chunks[0][4:8] != b"IHDR" or len(chunks[0]) != 25:
        raise UnfitError("the file is damaged")
    data = b"iTXt" + PNG_KEY + b"\0\0\0\0" + _xmp(existing, caption)
    chunks.insert(1, struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data)))
    return PNG_BEGIN + b"".join(chunks)


def _riff(image: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end = 12, min(len(image), 8 + struct.unpack("<I", image[4:8])[0])
    while at + 8 <= end:
        kind, (length,) = image[at : at + 4], struct.unpack("<I", image[at + 4 : at + 8])
        if at + 8 + length > len(image):
            raise UnfitError("the file is damaged")
        yield kind, image[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _webp(image: bytes, caption: str) -> bytes:
    chunks = list(_riff(image))
    existing = next((data for kind, data in chunks if kind == b"XMP "), None)
    chunks = [(kind, data) for kind, data in chunks if kind != b"XMP "]
    if not chunks:
        raise UnfitError("the file is damaged")
    if chunks[0][0] == b"VP8X":
        head = chunks[0][1]
        chunks[0] = (b"VP8X", bytes([head[0] | XMP_FLAG]) + head[1:])
    else:
        chunks.insert(0, (b"VP8X", _extended_head(*chunks[0])))
    chunks.append((b"XMP ", _xmp(existing, caption)))
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _extended_head(kind: bytes, data: bytes) -> bytes:
    """A simple file's, from its only chunk: https://developers.google.com/speed/webp/docs/riff_container."""
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = struct.unpack("<I", data[1:5])[0]
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1
    elif kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", data[6:10]))
        alpha = 0
    else:
        raise UnfitError("the file is damaged")
    flags = XMP_FLAG | (ALPHA_FLAG if alpha else 0)
    return bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
