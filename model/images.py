"""The decode policy: how the bytes of an image file become the pixels a backbone sees.

One rule for every job, so that training and captioning see the same pixels. Nothing is invented: what cannot be decoded
whole is an `ImageError`, never a grey or half picture. `POLICY_VERSION` enters the fingerprint of every row; raise it
with any change that can move a pixel. Pillow's own release can move one too (it brings its libjpeg and its filters), so
its version stands there as well.
"""

import io
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from beamscribe.model.colours import SIXTEEN_BIT, UnsupportedColoursError, flatten
from beamscribe.model.decode_memory import BUDGET_BYTES, MOST_BYTES_A_PIXEL, MemoryBudget, decoding_bytes
from beamscribe.model.image_formats import ImageError, find_opener
from beamscribe.model.metadata import Bare, without_heavy_metadata, without_metadata
from beamscribe.schemas.limits import MAX_PIXELS

POLICY_VERSION = "1"
PILLOW_VERSION = PIL.__version__
MAX_SIDE = 65_535  # JPEG's own limit; a 1 x 100,000,000 strip would need 120 GB between the two passes of the resize

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Pillow's own limit (89 million pixels warn, 179 million raise) is checked once more where it allocates a TIFF or a GIF
# frame; that warning is an error only where the process made warnings errors.
_PILLOW_LIMIT = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# What Pillow says of forms that it has no decoder for, such as floating-point colour and JPEG of 12 bits.
_NO_DECODER = re.compile(r"unknown (?:pixel mode|data organization)|Unsupported BMP|cannot handle \d+-(?:bit|layer)")

_EXIF_PREFIXES = re.compile(rb"^(?:Exif\0\0)+")

SMALL_BYTES = 64_000_000
"""An image that takes less memory than this is never refused for it, however few pixels are allowed."""

_MEMORY = MemoryBudget(BUDGET_BYTES)

# What turns EXIF's orientations 2 to 8 upright; from 5 on, width and height change places.
_TURNS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]


class DecodedImage(NamedTuple):
    """Pixels ready for a backbone's preprocessing.

    Attributes:
        pixels: uint8 (height, width, 3), RGB, upright, resized; read only.
        width, height: of the original in pixels, upright.
        repairs: what was done beside decoding and resizing, in this order:
            "first-frame": an animation or a file of several pages; the first was taken.
            "exif-orientation": turned or mirrored upright as EXIF (or XMP, where EXIF is silent) says.
            "exif-ignored": EXIF is unreadable, or its orientation is none of 1..8; taken as stored.
            "metadata-dropped": text, a profile, EXIF, XMP or one of their checksums is damaged or so large that Pillow
            gives up the file; it was decoded without them.
            "16-bit-to-8-bit": the high byte of each sample in 0..65535 was kept, for grey and colour alike.
            "float-to-8-bit": floating-point samples; 0..1 became 0..255.
            "range-stretched": the samples left those ranges; the image's least and greatest became 0 and 255.
            "palette-to-rgb", "grey-to-rgb" (1-bit too).
            "cmyk-to-rgb": without a profile; Adobe's inverted CMYK and YCCK are set right by Pillow.
            "alpha-on-white": some pixel was not opaque; the image was laid on white.
            "truncated": the file ends early; what had been decoded was kept, the other rows were cut off.
    """

    pixels: np.ndarray
    width: int
    height: int
    repairs: tuple[str, ...]


def decode_image(
    data: bytes,
    size: tuple[int, int] | int,
    resample: str = "bilinear",
    max_pixels: int = MAX_PIXELS,
    accept_truncated: bool = False,
) -> DecodedImage:
    """Decodes one image file to upright RGB pixels of a fixed size. Safe in many threads; no global is changed.

    The type comes from the bytes, never from a name. The declared size is checked before a pixel is decoded. Colour is
    converted at full size where the conversion is not linear (palette, CMYK, alpha), the one resize follows, and
    turning comes last, on the small image (it may differ by one level in 255 from turning first). JPEG is decoded in
    full: Pillow's draft mode is faster and another picture. ICC profiles and gamma are ignored. A JPEG whose data are
    damaged but complete decodes as libjpeg sees fit; Pillow hides libjpeg's warnings.

    Args:
        data: the file's bytes.
        size: (height, width) wanted; the aspect is not kept. Or the longest side at most, the aspect kept; a smaller
            image is not enlarged.
        resample: "bilinear" or "bicubic", Pillow's antialiased filters.
        max_pixels: refuse images that declare more.
        accept_truncated: keep what was decoded of a file that ends early, where its format gives anything.

    Raises:
        ImageError: the bytes give no whole image.
        ValueError: size or resample is none.
        RuntimeError: something in this process set Pillow's LOAD_TRUNCATED_IMAGES, which fills missing parts with grey.
    """
    if resample not in _FILTERS or (size if isinstance(size, int) else min(size)) < 1:
        raise ValueError(f"size must be positive and resample one of {sorted(_FILTERS)}, got {size} and {resample!r}")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: it invents the missing part; set it to False")
    opener = find_opener(data)
    bare = without_heavy_metadata(data)
    try:
        return _decode(opener, bare or data, size, resample, max_pixels, accept_truncated and bare is not None)
    except ImageError as error:
        if bare or error.error_type not in ("Truncated", "DecodeFailed", "UnsupportedImage"):
            raise
        reason = error
    # Metadata have no part in the pixels: they are taken out of its way, and what is left is the image or is not.
    bare = without_metadata(data)
    try:
        if bare or accept_truncated:
            return _decode(opener, bare or data, size, resample, max_pixels, accept_truncated)
    except ImageError as error:
        if error.error_type == "TooManyPixels":
            raise
    raise reason


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """A JPEG file without metadata.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        quality: 1 to 95.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _decode(
    opener: Callable[[io.BytesIO], ImageFile.ImageFile],
    source: bytes | Bare,
    size: tuple[int, int] | int,
    resample: str,
    max_pixels: int,
    accept_truncated: bool,
) -> DecodedImage:
    """One attempt, see `decode_image`: at a file as it is, or at what was left of it without metadata.

    Raises:
        ImageError: the bytes give no whole image.
    """
    bare = source if isinstance(source, Bare) else None
    stream = _WatchedBytes(source.data if isinstance(source, Bare) else source)
    try:
        image = opener(stream)
        wanted = decoding_bytes(image)
    except Exception as error:  # whatever Pillow raises of bytes gone bad: there is no class that it does not
        raise _explain(error, stream) from error
    if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE:
        raise ImageError("TooManyPixels", f"{image.size} declared; at most {max_pixels:,}, and {MAX_SIDE:,} a side")
    if wanted > max(max_pixels * MOST_BYTES_A_PIXEL, SMALL_BYTES):
        raise ImageError(
            "TooManyPixels",
            f"{image.format} of {image.size} needs {wanted / 1e6:,.0f} MB to decode, at most "
            f"{max_pixels * MOST_BYTES_A_PIXEL / 1e6:,.0f}; raise --max-pixels or convert it to JPEG",
        )
    with _MEMORY.taking(wanted):
        try:
            return _take(image, stream, bare, size, resample, accept_truncated)
        except ImageError:
            raise
        except UnsupportedColoursError as error:
            raise ImageError("UnsupportedImage", str(error)) from error
        except Exception as error:
            raise _explain(error, stream) from error


def _take(
    image: ImageFile.ImageFile,
    stream: "_WatchedBytes",
    bare: Bare | None,
    size: tuple[int, int] | int,
    resample: str,
    accept_truncated: bool,
) -> DecodedImage:
    """Pixels of an opened image."""
    if bare:
        image.info.update({key: block for key, block in (("exif", bare.exif), ("xmp", bare.xmp)) if block})
    sixteen_bit = any(SIXTEEN_BIT.search(str(tile[3])) for tile in image.tile)
    # Pillow turns a TIFF while it loads it and then forgets the tag; a PNG may tell its orientation after the pixels.
    turned_by_pillow = isinstance(image, TiffImageFile)
    orientation = _stored_orientation(image) if turned_by_pillow else None
    stream.in_blocks, whole = True, True
    try:
        image.load()
    except Exception as error:
        reason = _explain(error, stream)
        if not accept_truncated or reason.error_type != "Truncated" or _decoded_rows(image) is None:
            raise reason from error
        whole = False
    orientation = orientation if turned_by_pillow else _stored_orientation(image)
    flat, repairs = flatten(image, sixteen_bit)
    if bare:
        repairs.insert(0, "metadata-dropped")
    if orientation != 1 or (bare and bare.exif_damaged):
        repairs.insert(0, "exif-orientation" if orientation not in (1, None) else "exif-ignored")
    stored_as = 1 if turned_by_pillow else orientation or 1
    height, width = flat.size if stored_as >= 5 else flat.size[::-1]
    if not whole and (rows := _decoded_rows(image)):
        flat = flat.crop((0, rows[0], flat.width, rows[1]))
        repairs.append("truncated")
    if isinstance(size, int):
        scale = min(1.0, size / max(flat.size))
        stored_size = max(1, round(flat.width * scale)), max(1, round(flat.height * scale))
    else:
        stored_size = size if stored_as >= 5 else (size[1], size[0])
    small = flat.resize(stored_size, _FILTERS[resample])
    if stored_as > 1:
        small = small.transpose(Image.Transpose[_TURNS[stored_as - 2]])
    # Asked last: a GIF reads on to its second frame for the answer and forgets the first.
    if (bare and bare.more_frames) or _has_more_frames(image):
        repairs.insert(0, "first-frame")
    small = small if small.mode == "RGB" else small.convert("RGB")  # it would be copied
    return DecodedImage(np.asarray(small), width, height, tuple(repairs))


class _WatchedBytes(io.BytesIO):
    """A file that remembers whether its reader wanted more bytes than there are, by which we know a cut file."""

    ran_out = False
    in_blocks = False  # pixels are: their last block is short by nature, only an empty read counts

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if size is not None and len(block) < (min(size, 1) if self.in_blocks else size):
            self.ran_out = True
        return block


def _explain(error: Exception, stream: _WatchedBytes) -> ImageError:
    reason = f"Pillow says {type(error).__name__}: {error}"
    if isinstance(error, _PILLOW_LIMIT):
        return ImageError("TooManyPixels", reason)
    if _NO_DECODER.search(str(error)):
        return ImageError("UnsupportedImage", f"this form of it is not decoded; convert it to JPEG or PNG ({reason})")
    if stream.ran_out or "truncated" in str(error).lower() or _declares_more(stream.getvalue()):
        return ImageError("Truncated", f"the file ends before its image does; fetch it again ({reason})")
    return ImageError("DecodeFailed", f"the file is damaged; fetch it again ({reason})")


def _decoded_rows(image: ImageFile.ImageFile) -> tuple[int, int] | None:
    """First row, and the one after the last, that a decoder which gave up has left; None if it left nothing.

    Pillow hands them out once it believes that all is read. A bitmap's rows come from the bottom.
    """
    image.tile = []
    try:
        box = image.getbbox()  # what was not reached is zero in every band
    except Exception:  # noqa: BLE001 (of Pillow)
        return None
    return (box[1], box[3]) if box else None


def _declares_more(data: bytes) -> bool:
    """True where a format that Pillow reads in one piece says that it is longer, or lacks its last marker."""
    if data.startswith(b"RIFF"):
        return 8 + int.from_bytes(data[4:8], "little") > len(data)
    if data[4:8] == b"ftyp":
        start, length = 0, 8
        while length >= 8 and start < len(data):  # boxes: big-endian length, four letters, content
            length = int.from_bytes(data[start : start + 4], "big")
            start += length
        return start > len(data)
    ends_in_a_marker = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
    return data.startswith(ends_in_a_marker) and not data.endswith(b"\xff\xd9")


def _stored_orientation(image: ImageFile.ImageFile) -> int | None:
    """Gives EXIF's orientation 1..8, 1 where there is none, None where it cannot be understood."""
    try:
        if exif := image.info.get("exif"):
            # Pillow removes a repeated prefix one by one, in a time that grows with the square of their number.
            image.info["exif"] = _EXIF_PREFIXES.sub(b"Exif\0\0", exif, count=1)
        Image.Exif().load(image.info.get("exif") or b"")  # opening a JPEG eats the error getexif has
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 (of Pillow)
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _has_more_frames(image: ImageFile.ImageFile) -> bool:
    try:
        return getattr(image, "is_animated", False)
    except Exception:  # noqa: BLE001 (a second frame begins and is damaged; the first is whole)
        return True
