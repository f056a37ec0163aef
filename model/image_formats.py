"""Which of Pillow's decoders a file is given to, told from its first bytes; the error of files that give no image."""

import io
import re
from collections.abc import Callable

from PIL import ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

Opener = Callable[[io.BytesIO], ImageFile.ImageFile]

# The formats people publish photographs in, by their first bytes. Image.open is passed over for three reasons: it tries
# formats that run programs or hold no photograph (EPS, PDF, fonts), its pixel limit is a global of the process, and the
# warning below that limit cannot be silenced in one thread alone. JPEG is opened as such although phones append more
# pictures to it (MPO: depth, gain map): the first picture is the photograph, and a broken index does not matter.
_FORMATS: tuple[tuple[bytes, Opener], ...] = (
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
    (rb"\0\0[\x01\x02]\0[^\0]\0|icns", "icon"),
    (rb"8BPS|%!PS|\xc5\xd0\xd3\xc6|%PDF-", "Photoshop, PostScript and PDF"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,500}?-->\s*)?<svg\b", "SVG"),
)

_SUFFIXES = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tif"}
"""Suffixes for those of Pillow's names of formats that are no suffixes in small letters."""


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


def find_opener(data: bytes) -> Opener:
    """Gives what opens the format that the bytes begin like.

    Raises:
        ImageError: no format that is decoded here begins like this.
    """
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
        find_opener(head)
    except ImageError as error:
        return error.error_type == "UnsupportedImage"
    return True


def suffix_of(data: bytes) -> str:
    """The suffix of a photograph, from its first bytes."""
    try:
        name = str(getattr(find_opener(data), "format", None) or "bin")
    except ImageError:
        name = "bin"
    return _SUFFIXES.get(name, name.lower())


def _heif_opener() -> Opener:
    """The opener of the optional package, whose libraries are under the LGPL."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise ImageError(
            "UnsupportedImage", "HEIF files need the extra heif: pip install 'beamscribe[heif]'; or convert it to JPEG"
        ) from None
    return HeifImageFile
