"""Files that are bad or odd, each different, made with Pillow and by damaging what it makes."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

COUNT = int(os.environ.get("BEAMSCRIBE_ODD_IMAGES", "112"))


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _noise(random: np.random.Generator, mode: str = "RGB") -> Image.Image:
    height, width = random.integers(8, 90, 2)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


def _huge(random: np.random.Generator) -> bytes:
    """A PNG that declares billions of pixels."""
    header = struct.pack(">IIBBBBB", int(random.integers(40_000, 60_000)), 60_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _flipped(random: np.random.Generator, kind: str) -> bytes:
    data = bytearray(_encode(_noise(random), kind))
    for place in random.integers(2, len(data), 12):
        data[place] ^= 1 << int(random.integers(8))
    return bytes(data)


def _cut(random: np.random.Generator, kind: str) -> bytes:
    data = _encode(_noise(random), kind)
    return data[: int(random.integers(1, len(data)))]


def _animation(random: np.random.Generator) -> bytes:
    frames = [Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)) for _ in range(3)]
    return _encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _sixteen_bits(random: np.random.Generator) -> bytes:
    return _encode(Image.fromarray(random.integers(0, 65536, (20, 30)).astype(np.uint16)), "PNG")


def _turned(random: np.random.Generator) -> bytes:
    block = Image.Exif()
    block[274] = int(random.integers(0, 12))  # 1 to 8 mean something
    return _encode(_noise(random), "JPEG", exif=block)


KINDS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "empty.jpg": lambda random: b"",
    "page.jpg": lambda random: b"<!doctype html><title>404</title>" + random.bytes(50),
    "noise.jpg": lambda random: random.bytes(int(random.integers(1, 4000))),
    "zeros.png": lambda random: bytes(int(random.integers(1, 4000))),
    "huge.png": _huge,
    "cut.jpg": lambda random: _cut(random, "JPEG"),
    "cut.png": lambda random: _cut(random, "PNG"),
    "cut.webp": lambda random: _cut(random, "WEBP"),
    "cut.gif": lambda random: _cut(random, "GIF"),
    "cut.tiff": lambda random: _cut(random, "TIFF"),
    "cut.avif": lambda random: _cut(random, "AVIF"),
    "flipped.jpg": lambda random: _flipped(random, "JPEG"),
    "flipped.png": lambda random: _flipped(random, "PNG"),
    "flipped.webp": lambda random: _flipped(random, "WEBP"),
    "flipped.tiff": lambda random: _flipped(random, "TIFF"),
    "flipped.bmp": lambda random: _flipped(random, "BMP"),
    "wrong-suffix.png": lambda random: _encode(_noise(random), "JPEG"),
    "cmyk.jpg": lambda random: _encode(_noise(random, "CMYK"), "JPEG"),
    "grey.jpg": lambda random: _encode(_noise(random, "L"), "JPEG"),
    "palette.png": lambda random: _encode(_noise(random, "P"), "PNG"),
    "alpha.png": lambda random: _encode(_noise(random, "RGBA"), "PNG"),
    "bits.png": lambda random: _encode(_noise(random, "1"), "PNG"),
    "deep.png": _sixteen_bits,
    "float.tiff": lambda random: _encode(Image.fromarray(random.random((9, 9), np.float32)), "TIFF"),
    "moving.gif": _animation,
    "turned.jpg": _turned,
    "tiny.png": lambda random: _encode(Image.new("RGB", (1, 1)), "PNG", compress_level=int(random.integers(10))),
    "thin.png": lambda random: _encode(Image.new("L", (int(random.integers(3000, 9000)), 1)), "PNG"),
}


def odd_images() -> Iterator[tuple[str, bytes]]:
    """Names and contents, always the same."""
    kinds = list(KINDS.items())
    for number in range(COUNT):
        name, make = kinds[number % len(kinds)]
        yield f"odd-{number:03d}-{name}", make(np.random.default_rng(number))
