"""An image file without its metadata: only what decides pixels is kept.

Text, colour profiles, EXIF, XMP and their checksums have no part in the pixels that a backbone sees, yet Pillow gives
up an image for one damaged or very long piece of them, and its limits are globals of the process. So a file that Pillow
does not take is offered to it once more as `without_metadata` leaves it: same pixels, nothing else to fail at.
"""

import struct
from collections.abc import Iterator

from beamscribe.model.bare_chunks import bare_png, bare_webp
from beamscribe.model.bare_file import Bare

HEAVY_GIF_BYTES = 1 << 20
HEAVY_JPEG_BYTES = 8 << 20
"""Metadata above these sizes are removed before Pillow sees them: it joins the pieces of a comment or of EXIF one by
one, in a time that grows with the square of their length (a GIF comment of 10 MB takes most of a minute)."""


def without_metadata(data: bytes) -> Bare | None:
    """Leaves out metadata; None where there are none, or the format or its damage is not understood.

    Time and memory are linear in the file's size.

    Args:
        data: an image file.
    """
    bare: Bare | None = None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        bare = bare_png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        bare = _bare_jpeg(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        bare = bare_webp(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        bare = _bare_gif(data)
    elif data.startswith((b"II", b"MM")):
        bare = _bare_tiff(data)
    elif data[4:8] == b"ftyp":
        bare = _bare_heif(data)
    elif data.startswith(b"\0\0\0\x0cjP"):
        bare = _bare_jpeg2000(data)
    return bare if bare and bare.data != data else None


def without_heavy_metadata(data: bytes) -> Bare | None:
    """The file without metadata that would take Pillow very long to read; None where there are none."""
    if data.startswith(b"GIF8"):
        limit = HEAVY_GIF_BYTES
    elif data.startswith(b"\xff\xd8\xff"):
        limit = HEAVY_JPEG_BYTES
    else:
        return None
    bare = without_metadata(data) if len(data) > limit else None
    return bare if bare and bare.removed > limit else None


# JPEG, ITU-T T.81. Kept besides tables and frames: JFIF's and Adobe's segments, which tell the colours.
_JFIF, _ADOBE, _EXIF = b"JFIF\0", b"Adobe", b"Exif\0\0"
_XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_STANDALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_START_OF_SCAN, _END = 0xDA, 0xD9


def _bare_jpeg(data: bytes) -> Bare | None:
    kept, kept_bytes, position = [data[:2]], 2, 2
    exif: list[bytes] = []
    xmp: bytes | None = None
    while True:
        start = data.find(b"\xff", position)
        while start >= 0 and data[start + 1 : start + 2] == b"\xff":
            start += 1
        if start < 0 or start + 4 > len(data) or data[start + 1] == _END:
            return None
        marker = data[start + 1]
        if marker in _STANDALONE:
            position = start + 2
            continue
        position = len(data) if marker == _START_OF_SCAN else start + 2 + max(2, _big(data, start + 2, 2))
        body = start + 4
        if not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            keep = True
        elif marker == 0xE1 and data.startswith(_EXIF, body):
            keep = False
            exif.append(data[body + len(_EXIF) : position])
        elif marker == 0xE1 and data.startswith(_XMP_OF_JPEG, body):
            keep, xmp = False, data[body + len(_XMP_OF_JPEG) : position]
        else:
            keep = (marker == 0xE0 and data.startswith(_JFIF, body) and position - body >= 14) or (
                marker == 0xEE and data.startswith(_ADOBE, body) and position - body >= 12
            )
        if keep:
            kept.append(data[start:position])
            kept_bytes += len(kept[-1])
        if marker == _START_OF_SCAN:
            block = _EXIF + b"".join(exif) if exif else None
            return Bare(b"".join(kept), len(data) - kept_bytes, block, xmp)


# GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt. Frames after the first are left out.
_GIF_CONTROL = b"!\xf9"


def _bare_gif(data: bytes) -> Bare | None:
    if len(data) < 13:
        return None
    position = 13 + _gif_colours(data[10])
    kept = [data[:position]]
    seen = False
    while position < len(data):
        kind = data[position : position + 1]
        if kind == b"!":
            end = _end_of_gif_blocks(data, position + 2)
            if data.startswith(_GIF_CONTROL, position) and not seen:
                kept.append(data[position:end])
        elif kind == b"," and position + 10 < len(data):
            if seen:
                break
            seen = True
            end = _end_of_gif_blocks(data, position + 11 + _gif_colours(data[position + 9]))
            kept.append(data[position:end])
        elif kind == b";":
            break
        else:
            end = position + 1
        position = end
    if not seen:
        return None
    bare = b"".join(kept) + b";"
    return Bare(bare, len(data) - len(bare), more_frames=data[position : position + 1] == b",")


def _gif_colours(flags: int) -> int:
    """Bytes of the colour table that a screen or a frame with these flags has."""
    return 3 << ((flags & 7) + 1) if flags & 128 else 0


def _end_of_gif_blocks(data: bytes, position: int) -> int:
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return min(position + 1, len(data))


# TIFF 6.0 and BigTIFF: the tags that libtiff and Pillow need for pixels, and the orientation.
_TIFF_PIXELS = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 284, 290, 291, 292, 293, 317, 320)
    + (322, 323, 324, 325, 332, 334, 336, 337, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521)
    + (529, 530, 531, 532, 34676, 34677, 37724, 50838, 50839, 65000, 65001)
)


def _bare_tiff(data: bytes) -> Bare | None:
    """Tags are left out of the first directory; nothing moves, so that offsets stay right."""
    order = ">" if data.startswith(b"MM") else "<"
    big = data[2:4] in (b"+\0", b"\0+")
    count_format, entry_size, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    try:
        (start,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_format, data, start)
    except struct.error:
        return None
    first = start + struct.calcsize(order + count_format)
    end = first + count * entry_size
    if end > len(data):
        return None
    entries = [data[position : position + entry_size] for position in range(first, end, entry_size)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] in _TIFF_PIXELS]
    following = data[end : end + struct.calcsize(order + offset_format)]
    directory = struct.pack(order + count_format, len(kept)) + b"".join(kept) + following
    bare = data[:start] + directory + data[start + len(directory) :]
    return Bare(bare, (len(entries) - len(kept)) * entry_size)


def _bare_heif(data: bytes) -> Bare | None:
    """HEIF and AVIF: items of EXIF and XMP get a type that readers pass over."""
    for name, start, end in _boxes(data):
        if name == b"meta":
            meta = data[start:end]
            bare = meta.replace(b"Exif", b"skip").replace(b"application/rdf+xml", b"application/x-unread")
            # Equal lengths, so that offsets stay right.
            return Bare(data[:start] + bare[: len(meta)] + data[end:], 0, exif_damaged=b"Exif" in meta)
    return None


def _bare_jpeg2000(data: bytes) -> Bare:
    """Boxes of text, XML and UUIDs are left out."""
    kept = [data[start:end] for name, start, end in _boxes(data) if name in (b"jP  ", b"ftyp", b"jp2h", b"jp2c")]
    bare = b"".join(kept)
    return Bare(bare, len(data) - len(bare))


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Boxes of an ISO base media file: type, start and end."""
    start = 0
    while start + 8 <= len(data):
        length = _big(data, start, 4)
        end = start + length
        if length == 1:
            end = start + _big(data, start + 8, 8)
        if length == 0 or end > len(data):
            end = len(data)  # it reaches to the end
        if end < start + 8:
            return
        yield data[start + 4 : start + 8], start, end
        start = end


def _big(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size], "big")
