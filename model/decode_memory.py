"""What decoding an image takes of memory, and a budget that the threads of a process share.

The numbers were measured: the growth of a process's peak (VmHWM) while `decode_image` takes an image of 16 megapixels
of each kind, rounded up. `tests/model/test_decode_memory.py` measures them again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

MOST_BYTES_A_PIXEL = 13
"""An image may take so many times `max_pixels`: what a progressive CMYK JPEG needs, of the kinds that cameras make."""

BUDGET_BYTES = 1_300_000_000
"""What all threads of a process decode at a time; an image that takes more by itself is decoded alone."""

_JPEG = {1: 4, 3: 11, 4: 13}
"""By components: a progressive file's coefficients are held beside its pixels, two bytes each."""

_OTHERS = {"WEBP": 20, "AVIF": 18, "JPEG2000": 25, "HEIF": 13}
"""Their libraries hold canvases or planes of their own, and hand out a copy."""

_PIXELS_AND_CONVERTED = 9
"""Four bytes as Pillow holds them, four more where colours are converted, and a band of rows in hand."""

_TILE_WIDTH, _TILE_LENGTH, _ROWS_PER_STRIP, _SAMPLES, _BITS = 322, 323, 278, 277, 258


def decoding_bytes(image: ImageFile.ImageFile) -> int:
    """What decoding an opened image takes of memory, told from its header alone."""
    pixels = image.width * image.height
    if isinstance(image, JpegImageFile):
        return pixels * _JPEG.get(image.layers, MOST_BYTES_A_PIXEL)
    a_pixel = _OTHERS.get(image.format or "", _PIXELS_AND_CONVERTED)
    return pixels * a_pixel + (_tile_bytes(image) if isinstance(image, TiffImageFile) else 0)


def _tile_bytes(image: TiffImageFile) -> int:
    """Of one tile or strip, which libtiff takes whole however small the image is."""
    tags = image.tag_v2
    bits = tags.get(_BITS, 1)
    depth = max(_number(value) for value in (bits if isinstance(bits, tuple) and bits else (bits,)))
    if _TILE_WIDTH in tags or _TILE_LENGTH in tags:
        area = _number(tags.get(_TILE_WIDTH)) * _number(tags.get(_TILE_LENGTH))
    else:
        area = image.width * min(image.height, _number(tags.get(_ROWS_PER_STRIP, image.height)))
    return area * _number(tags.get(_SAMPLES, 1)) * depth // 8


def _number(value: Any) -> int:
    if isinstance(value, tuple):
        return int(value[0]) if value else 0
    return int(value or 0)


class MemoryBudget:
    """Lets as many decode at a time as their memory allows. Threads share it.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, wanted: int) -> Iterator[None]:
        """Waits until so many bytes are free, or nobody else has any, and holds them."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + wanted <= self._total)
            self._taken += wanted
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()
