"""The decode policy: how the bytes of an image file become the pixels a backbone sees.

One rule for every job, so that training and captioning see the same pixels. Nothing is invented: what cannot be decoded
whole is an `ImageError`, never a grey or half picture. `POLICY_VERSION` enters the fingerprint of every row; raise it
with any change that can move a pixel. Pillow's own release can move one too (it brings its libjpeg and its filters), so
its version stands there as well.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from schemas.limits import MAX_PIXELS

POLICY_VERSION = "1"
PILLOW_VERSION = PIL.__version__
MAX_SIDE = 65_535  # JPEG's own limit; a 1 x 100,000,000 strip would need 120 GB between the two passes of the resize

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# The formats people publish photographs in, by their first bytes. Image.open is passed over for three reasons: it tries
# formats that run programs or hold no photograph (EPS, PDF, fonts), its pixel limit is a global of the process, and the
# warning below that limit cannot be silenced in one thread alone. JPEG is opened as such although phones append more
# pictures to it (MPO: depth, gain map): the first picture is the photograph, and a broken index does not matter.
_FORMATS: tuple[tuple[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    (rb"GIF8[79]a", GifImageFile),
    (rb"RIFF....WEBPVP8[ LX]", WebPImageFile),
    (rb"....ftyp(?:....){0,15}?avi[fs]", AvifImageFile),
    (rb"II[*+]\0|MM\0[*+]", TiffImageFile),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", BmpImageFile),  # BM alone may begin a text
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", Jpeg2KImageFile),
    (rb"P[1-6f][ \t\r\n]", PpmImageFile),
)
_HEIF = rb"....ftyp(?:hei[cmsx]|hev[cx]|mif1|msf1)"
_KNOWN_BUT_UNSUPPORTED = (
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"8BPS|%!PS|\xc5\xd0\xd3\xc6|%PDF-", "Photoshop, PostScript and PDF"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,500}?-->\s*)?<svg\b", "SVG"),
)

# What Pillow 12.3 raises for bytes gone bad, by its source and by flipping bytes in every format above; caught around
# its calls alone. Its own limit (89 million pixels warn, 179 million raise) is checked once more where it allocates a
# TIFF or a GIF frame; that warning is an error only where the process made warnings errors.
_PARSER_ERRORS = (SyntaxError, LookupError, TypeError, EOFError, struct.error)  # broken headers, running off an end
_ASSERTIONS = (AssertionError, AttributeError)  # Pillow asserts some of the data (a palette is there); with -O it trips
_CODEC_ERRORS = (OSError, ValueError, RuntimeError, OverflowError, MemoryError, zlib.error)  # false lengths as well
_PILLOW_LIMIT = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_PILLOW_ERRORS = (*_PARSER_ERRORS, *_ASSERTIONS, *_CODEC_ERRORS, *_PILLOW_LIMIT)

# Pillow keeps the high byte of 16-bit colour while it unpacks; only the name of the packing tells.
_SIXTEEN_BIT = re.compile(r";16[BLNR]")
_COLOUR_REPAIRS: dict[str, list[str]] = {
    **dict.fromkeys(("RGB", "RGBX", "RGBA"), []),
    **dict.fromkeys(("1", "L", "LA"), ["grey-to-rgb"]),
    **dict.fromkeys(("P", "PA"), ["palette-to-rgb"]),
    "CMYK": ["cmyk-to-rgb"],
}

# What turns EXIF's orientations 2 to 8 upright; from 5 on, width and height change places.
_TURNS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]


class ImageError(ValueError):
    """The bytes give no whole image; `message` says what is wrong and how to mend it.

    `error_type` is "EmptyFile", "NotAnImage", "Truncated" (the file ends before what it declares), "TooManyPixels",
    "UnsupportedImage" (an image of a kind not decoded here) or "DecodeFailed" (damaged).
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(error_type, message)  # both, so that it survives pickling between processes
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"


class DecodedImage(NamedTuple):
    """Pixels ready for a backbone's preprocessing.

    Attributes:
        pixels: uint8 (height, width, 3), RGB, upright, resized; read only.
        width, height: of the original in pixels, upright.
        repairs: what was done beside decoding and resizing, in this order:
            "first-frame": an animation or a file of several pages; the first was taken.
            "exif-orientation": turned or mirrored upright as EXIF (or XMP, where EXIF is silent) says.
            "exif-ignored": EXIF is unreadable, or its orientation is none of 1..8; taken as stored.
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
    size: tuple[int, int],
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
        size: (height, width) wanted; the aspect is not kept.
        resample: "bilinear" or "bicubic", Pillow's antialiased filters.
        max_pixels: refuse images that declare more.
        accept_truncated: keep what was decoded of a file that ends early, where its format gives anything.

    Raises:
        ImageError: the bytes give no whole image.
        ValueError: size or resample is none.
        RuntimeError: something in this process set Pillow's LOAD_TRUNCATED_IMAGES, which fills missing parts with grey.
    """
    if resample not in _FILTERS or min(size) < 1:
        raise ValueError(f"size must be positive and resample one of {sorted(_FILTERS)}, got {size} and {resample!r}")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: it invents the missing part; set it to False")
    stream, opener = _WatchedBytes(data), _find_opener(data)
    try:
        image = opener(stream)
    except _PILLOW_ERRORS as error:
        raise _explain(error, stream) from error
    if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE:
        raise ImageError("TooManyPixels", f"{image.size} declared; at most {max_pixels:,}, and {MAX_SIDE:,} a side")
    sixteen_bit = any(_SIXTEEN_BIT.search(str(tile[3])) for tile in image.tile)
    # Pillow turns a TIFF while it loads it and then forgets the tag; a PNG may tell its orientation after the pixels.
    turned_by_pillow = isinstance(image, TiffImageFile)
    orientation = _stored_orientation(image) if turned_by_pillow else None
    stream.in_blocks, whole = True, True
    try:
        image.load()
    except _PILLOW_ERRORS as error:
        reason = _explain(error, stream)
        if not accept_truncated or reason.error_type != "Truncated" or _decoded_rows(image) is None:
            raise reason from error
        whole = False
    orientation = orientation if turned_by_pillow else _stored_orientation(image)
    flat, repairs = _flatten(image, sixteen_bit)
    if orientation != 1:
        repairs.insert(0, "exif-ignored" if orientation is None else "exif-orientation")
    stored_as = 1 if turned_by_pillow else orientation or 1
    height, width = flat.size if stored_as >= 5 else flat.size[::-1]
    if not whole and (rows := _decoded_rows(image)):
        flat = flat.crop((0, rows[0], flat.width, rows[1]))
        repairs.append("truncated")
    small = flat.resize(size if stored_as >= 5 else size[::-1], _FILTERS[resample])
    if stored_as > 1:
        small = small.transpose(Image.Transpose[_TURNS[stored_as - 2]])
    # Asked last: a GIF reads on to its second frame for the answer and forgets the first.
    if _has_more_frames(image):
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


def _find_opener(data: bytes) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    if not data:
        raise ImageError("EmptyFile", "the file has no bytes; fetch it again")
    for pattern, opener in _FORMATS:
        if re.match(pattern, data[:1024], re.DOTALL):
            return opener
    if re.match(_HEIF, data[:1024], re.DOTALL):
        return _heif_opener()
    for pattern, name in _KNOWN_BUT_UNSUPPORTED:
        if re.match(pattern, data[:1024], re.DOTALL):
            raise ImageError("UnsupportedImage", f"{name} files are not decoded; convert it to JPEG or PNG")
    raise ImageError("NotAnImage", f"no image format known here begins with {data[:16]!r}")


def begins_like_an_image(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an image format known here, whether it is decoded or not."""
    try:
        _find_opener(head)
    except ImageError as error:
        return error.error_type == "UnsupportedImage"
    return True


def _heif_opener() -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """Of the optional package, whose libraries are under the LGPL."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise ImageError(
            "UnsupportedImage", "HEIF files need the extra heif: pip install 'beamscribe[heif]'; or convert it to JPEG"
        ) from None
    return HeifImageFile


def _explain(error: Exception, stream: _WatchedBytes) -> ImageError:
    reason = f"Pillow says {type(error).__name__}: {error}"
    if isinstance(error, _PILLOW_LIMIT):
        return ImageError("TooManyPixels", reason)
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
    except _PILLOW_ERRORS:
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
        Image.Exif().load(image.info.get("exif") or b"")  # opening a JPEG eats the error getexif has
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _PILLOW_ERRORS:
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _has_more_frames(image: ImageFile.ImageFile) -> bool:
    try:
        return getattr(image, "is_animated", False)
    except _PILLOW_ERRORS:  # a second frame begins and is damaged; the first is whole
        return True


def _flatten(image: Image.Image, sixteen_bit: bool) -> tuple[Image.Image, list[str]]:
    """Converts any mode to opaque "L" or "RGB" and names what was done; grey stays one channel for a cheaper resize."""
    repairs = ["16-bit-to-8-bit"] if sixteen_bit else []
    key = image.info.get("transparency")
    if sixteen_bit and isinstance(key, tuple):  # PNG's transparent colour, which Pillow leaves at 16 bits
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image, repairs = _to_eight_bits(image)
    if image.mode not in _COLOUR_REPAIRS:
        raise ImageError("UnsupportedImage", f"Pillow's mode {image.mode} has no known colours; convert it to RGB")
    repairs += _COLOUR_REPAIRS[image.mode]
    try:
        if not image.has_transparency_data:
            mode = "L" if image.mode in ("1", "L") else "RGB"
            return image if mode == image.mode else image.convert(mode), repairs
        image = image.convert("RGBA")
    except _PILLOW_ERRORS as error:  # a broken palette or transparency chunk
        raise ImageError("DecodeFailed", f"its colours cannot be read ({type(error).__name__}: {error})") from error
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), repairs
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white, [*repairs, "alpha-on-white"]


def _to_eight_bits(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Scales samples of 16 bits ("I;16" in each byte order), 32 bits ("I") or floating point ("F") to "L" or "LA"."""
    samples, is_float = np.asarray(image), image.mode == "F"
    if isinstance(image, TiffImageFile) and image.mode.startswith("I;16") and image.tag_v2.get(262) == 0:
        samples = 65535 - samples  # photometric 0, where 0 is white: Pillow inverts 8 bits, not 16
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite((low, high)).all():
        raise ImageError("UnsupportedImage", "its samples are not all finite numbers; convert it to 8 bits")
    repairs = ["float-to-8-bit" if is_float else "16-bit-to-8-bit"]
    if low < 0 or high > (1 if is_float else 65535):
        repairs.append("range-stretched")
        scaled = np.rint((samples.astype(np.float64) - low) * (255 / ((high - low) or 1)))
    else:
        scaled = np.rint(samples * 255) if is_float else samples >> 8
    grey = Image.fromarray(scaled.astype(np.uint8))
    if isinstance(key := image.info.get("transparency"), int):  # PNG: samples of this value are transparent
        grey.putalpha(Image.fromarray(np.where(samples == key, np.uint8(0), np.uint8(255))))
    return grey, repairs
