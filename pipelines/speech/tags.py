"""What an audio file says of itself: title and artist, where players look for them.

The four containers are written here: of the libraries that write tags all are under the GPL or read only, and two words
a file need little. Sources: id3.org's ID3v2.4.0, RFC 9639 (FLAC), RFC 3533 (Ogg), xiph.org's Vorbis I and its comments.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

OGG_SERIAL = 1
"""The serial number of the one stream in a file. libsndfile draws it at random, which made equal sound unequal
files."""

VENDOR = b"beamscribe"
"""Who wrote a Vorbis comment, where the encoder has not said."""


def tag(data: bytes, format: str, title: str, artist: str) -> bytes:
    """The file with title and artist, and no other tags; the same file and words give the same bytes.

    Args:
        data: an audio file.
        format: "mp3" and "wav" get an ID3v2.4 tag, "ogg" and "flac" Vorbis comments.
        title: what is said.
        artist: who says it.

    Raises:
        ValueError: if the file is not of that format.
    """
    # ID3 parts values with NUL, and a lone surrogate has no UTF-8.
    words = [word.replace("\0", " ").encode(errors="replace") for word in (title, artist)]
    try:
        return _TAGGERS[format](data, *words)
    except (struct.error, IndexError) as error:
        raise _no(data, format, f"it ends early ({error})") from error


def _no(data: bytes, format: str, why: str) -> ValueError:
    return ValueError(f"{len(data)} bytes are no {format} file: {why}")


def _id3(title: bytes, artist: bytes) -> bytes:
    """An ID3v2.4 tag of two frames in UTF-8."""
    frames = b""
    for name, value in ((b"TIT2", title), (b"TPE1", artist)):
        frames += name + _synchsafe(len(value) + 1) + b"\0\0\x03" + value
    return b"ID3\x04\0\0" + _synchsafe(len(frames)) + frames


def _synchsafe(number: int) -> bytes:
    """28 bits, seven a byte."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _tag_mp3(data: bytes, title: bytes, artist: bytes) -> bytes:
    if data.startswith(b"ID3") and len(data) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
        data = data[10 + size + (10 if data[5] & 0x10 else 0) :]
    if len(data) >= 128 and data[-128:-125] == b"TAG":  # ID3v1
        data = data[:-128]
    return _id3(title, artist) + data


def _tag_wav(data: bytes, title: bytes, artist: bytes) -> bytes:
    if not (data.startswith(b"RIFF") and data[8:12] == b"WAVE"):
        raise _no(data, "wav", "it does not begin with RIFF and WAVE")
    chunks = [chunk for name, chunk in _riff_chunks(data) if name.lower() not in (b"id3 ", b"list")]
    tags = _id3(title, artist)
    chunks.append(b"id3 " + struct.pack("<I", len(tags)) + tags + b"\0" * (len(tags) % 2))
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        chunk = data[position : position + 8 + size]
        yield name, chunk + b"\0" * (len(chunk) % 2)
        position += 8 + size + size % 2


def _comments(vendor: bytes, title: bytes, artist: bytes) -> bytes:
    """A Vorbis comment header without its framing."""
    fields = [b"title=" + title, b"artist=" + artist]
    lengths = [struct.pack("<I", len(field)) + field for field in fields]
    return struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(fields)) + b"".join(lengths)


_FLAC_COMMENT, _FLAC_PADDING = 4, 1


def _tag_flac(data: bytes, title: bytes, artist: bytes) -> bytes:
    if not data.startswith(b"fLaC"):
        raise _no(data, "flac", "it does not begin with fLaC")
    blocks: list[tuple[int, bytes]] = []
    vendor, position, last = VENDOR, 4, False
    while not last:
        header = int.from_bytes(data[position : position + 4], "big")
        last, kind, size = bool(header >> 31), header >> 24 & 0x7F, header & 0xFFFFFF
        content = data[position + 4 : position + 4 + size]
        if len(content) < size or position + 4 > len(data):
            raise _no(data, "flac", "a block of metadata reaches beyond its end")
        if kind == _FLAC_COMMENT:
            vendor = _vendor(content)
        elif kind != _FLAC_PADDING:
            blocks.append((kind, content))
        position += 4 + size
    # The description of the stream comes first.
    blocks.insert(1, (_FLAC_COMMENT, _comments(vendor, title, artist)))
    written = b"".join(
        struct.pack(">I", (number == len(blocks) - 1) << 31 | kind << 24 | len(content)) + content
        for number, (kind, content) in enumerate(blocks)
    )
    return b"fLaC" + written + data[position:]


def _vendor(comments: bytes) -> bytes:
    (size,) = struct.unpack_from("<I", comments)
    return comments[4 : 4 + size]


class _Page(NamedTuple):
    """A page of an Ogg stream: its flags (1: goes on with a packet, 2: first, 4: last), place and packets' pieces."""

    flags: int
    granule: bytes
    lacing: bytes
    body: bytes


_VORBIS_COMMENT, _VORBIS_SETUP = b"\x03vorbis", b"\x05vorbis"
_NO_GRANULE = b"\xff" * 8
_MOST_SEGMENTS = 255


def _tag_ogg(data: bytes, title: bytes, artist: bytes) -> bytes:
    pages = list(_ogg_pages(data))
    if not pages or not pages[0].body.startswith(b"\x01vorbis"):
        raise _no(data, "ogg", "its first page is not that of a Vorbis stream")
    # Three packets are headers; the sound begins on a page of its own (Vorbis I, A.2).
    headers: list[bytes] = []
    count, packet = 0, b""
    while len(headers) < 3 and count < len(pages):
        page, start = pages[count], 0
        for size in page.lacing:
            packet += page.body[start : start + size]
            start += size
            if size < 255:
                headers.append(packet)
                packet = b""
        count += 1
    if len(headers) != 3 or not (headers[1].startswith(_VORBIS_COMMENT) and headers[2].startswith(_VORBIS_SETUP)):
        raise _no(data, "ogg", "its headers are not those of a Vorbis stream")
    comment = _VORBIS_COMMENT + _comments(_vendor(headers[1][len(_VORBIS_COMMENT) :]), title, artist) + b"\x01"
    rewritten = [page._replace(flags=2) for page in _laced([headers[0]])]
    rewritten += _laced([comment, headers[2]])
    return b"".join(_written(page, number) for number, page in enumerate([*rewritten, *pages[count:]]))


def _ogg_pages(data: bytes) -> Iterator[_Page]:
    position = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            raise _no(data, "ogg", f"no page begins at byte {position}")
        segments = data[position + 26]
        start = position + 27 + segments
        lacing = data[position + 27 : start]
        end = start + sum(lacing)
        if end > len(data) or len(lacing) < segments:
            raise _no(data, "ogg", "a page reaches beyond its end")
        yield _Page(data[position + 5], data[position + 6 : position + 14], lacing, data[start:end])
        position = end


def _laced(packets: list[bytes]) -> list[_Page]:
    """Pages of header packets, whose granule position is 0, or -1 where no packet ends on the page."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    body, pages, goes_on = b"".join(packets), [], 0
    for first in range(0, len(lacing), _MOST_SEGMENTS):
        part = lacing[first : first + _MOST_SEGMENTS]
        ends = any(size < 255 for size in part)
        pages.append(_Page(goes_on, bytes(8) if ends else _NO_GRANULE, part, body[: sum(part)]))
        body, goes_on = body[sum(part) :], int(part[-1] == 255)
    return pages


def _written(page: _Page, number: int) -> bytes:
    head = b"OggS\0" + bytes([page.flags]) + page.granule + struct.pack("<II", OGG_SERIAL, number)
    tail = bytes([len(page.lacing)]) + page.lacing + page.body
    return head + struct.pack("<I", _ogg_checksum(head + bytes(4) + tail)) + tail


_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with polynomial 0x04C11DB7, highest bit first, from 0 and not inverted (RFC 3533).

    zlib has the same polynomial with the lowest bit first, from -1 and inverted: bits change places on the way in and
    out, and what it inverts is inverted before.
    """
    reflected = ~zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


_TAGGERS: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
    "mp3": _tag_mp3,
    "ogg": _tag_ogg,
    "flac": _tag_flac,
    "wav": _tag_wav,
}
