"""Any mode that Pillow decodes to, as opaque 8-bit grey or RGB; band by band, so that memory is bounded."""

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

BAND_PIXELS = 1 << 18
"""Converted at a time."""

# Pillow keeps the high byte of 16-bit colour while it unpacks; only the name of the packing tells.
SIXTEEN_BIT = re.compile(r";16[BLNR]")

_COLOUR_REPAIRS: dict[str, list[str]] = {
    **dict.fromkeys(("RGB", "RGBX", "RGBA"), []),
    **dict.fromkeys(("1", "L", "LA"), ["grey-to-rgb"]),
    **dict.fromkeys(("P", "PA"), ["palette-to-rgb"]),
    "CMYK": ["cmyk-to-rgb"],
}


class UnsupportedColoursError(ValueError):
    """The image's samples have no known meaning as colours."""


def flatten(image: Image.Image, sixteen_bit: bool) -> tuple[Image.Image, list[str]]:
    """Converts any mode to opaque "L" or "RGB" and names what was done; grey stays one channel for a cheaper resize.

    Args:
        image: decoded.
        sixteen_bit: whether colour samples had 16 bits before Pillow unpacked them.

    Raises:
        UnsupportedColoursError: of modes without known colours, and samples that are no finite numbers.
        Exception: whatever Pillow raises for a broken palette or transparency chunk.
    """
    repairs = ["16-bit-to-8-bit"] if sixteen_bit else []
    key = image.info.get("transparency")
    if sixteen_bit and isinstance(key, tuple):  # PNG's transparent colour, which Pillow leaves at 16 bits
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image, repairs = _to_eight_bits(image)
    if image.mode not in _COLOUR_REPAIRS:
        raise UnsupportedColoursError(f"Pillow's mode {image.mode} has no known colours; convert it to RGB")
    repairs += _COLOUR_REPAIRS[image.mode]
    if not image.has_transparency_data:
        mode = "L" if image.mode in ("1", "L") else "RGB"
        return image if mode == image.mode else image.convert(mode), repairs
    flat, opaque = _lay_on_white(image)
    return flat, repairs if opaque else [*repairs, "alpha-on-white"]


def _lay_on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image on white, and whether every pixel was opaque."""
    flat = Image.new("RGB", image.size, "white")
    opaque = True
    for box in _bands(image):
        band = image.crop(box).convert("RGBA")
        opaque &= band.getchannel("A").getextrema() == (255, 255)
        flat.paste(band, box[:2], mask=band)
    return flat, opaque


def _to_eight_bits(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Scales samples of 16 bits ("I;16" in each byte order), 32 bits ("I") or floating point ("F") to "L" or "LA"."""
    is_float = image.mode == "F"
    white_is_zero = (
        isinstance(image, TiffImageFile) and image.mode.startswith("I;16") and image.tag_v2.get(262) == 0
    )  # Pillow inverts 8 bits, not 16

    def samples_of(box: tuple[int, int, int, int]) -> np.ndarray:
        samples = np.asarray(image.crop(box))
        return 65535 - samples if white_is_zero else samples

    low, high = np.inf, -np.inf
    for box in _bands(image):
        samples = samples_of(box)
        low, high = float(np.minimum(low, samples.min())), float(np.maximum(high, samples.max()))
    if not np.isfinite((low, high)).all():
        raise UnsupportedColoursError("its samples are not all finite numbers; convert it to 8 bits")
    repairs = ["float-to-8-bit" if is_float else "16-bit-to-8-bit"]
    stretched = low < 0 or high > (1 if is_float else 65535)
    if stretched:
        repairs.append("range-stretched")
    key = image.info.get("transparency")  # PNG: samples of this value are transparent
    keyed = isinstance(key, int)
    grey = Image.new("LA" if keyed else "L", image.size)
    for box in _bands(image):
        samples = samples_of(box)
        if stretched:
            scaled = np.rint((samples.astype(np.float64) - low) * (255 / ((high - low) or 1)))
        else:
            scaled = np.rint(samples * 255) if is_float else samples >> 8
        band = Image.fromarray(scaled.astype(np.uint8))
        if keyed:
            band.putalpha(Image.fromarray(np.where(samples == key, np.uint8(0), np.uint8(255))))
        grey.paste(band, box[:2])
    return grey, repairs


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows that make up the image."""
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)
