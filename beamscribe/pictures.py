"""What stands for an image in Python, and how its pixels are come by."""

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.model.captioner_interface import Pixels
from beamscribe.model.images import ImageError, decode_image
from beamscribe.storage.uri import read_uri

Picture = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path or URI, the bytes of an image file, an image of Pillow, or an array (height, width[, 1, 3 or 4 channels])."""

ROUNDING = 1e-3


def many(images: Picture | Sequence[Picture]) -> Sequence[Picture]:
    """The images, of which one may stand alone."""
    if isinstance(images, np.ndarray):
        return [images] if images.ndim < 4 else list(images)
    return [images] if isinstance(images, str | os.PathLike | bytes | Image.Image) else images


def padded(pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Pixels (size, height, width, 3): sizes are powers of two, since a function is compiled for each.

    The rest repeats the last image.
    """
    padding = (1 << (len(pixels) - 1).bit_length()) - len(pixels)
    return np.stack([*pixels, *[pixels[-1]] * padding])


def pixels_or_error(image: Picture, spec: BackboneSpec | Pixels) -> np.ndarray | str:
    """Pixels of the backbone's size, or what is wrong with the image."""
    try:
        return decode_image(file_of(image), spec.input_size, spec.resample).pixels
    except (ImageError, OSError, TypeError, ValueError) as error:
        return reason(image, error)


def reason(image: Picture, error: Exception) -> str:
    """What is wrong with an image, as `Caption.error` says it."""
    where = f"{os.fspath(image)}: " if isinstance(image, str | os.PathLike) else ""
    kind = error.error_type if isinstance(error, ImageError) else type(error).__name__
    return f"{kind}: {where}{str(error).removeprefix(f'{kind}: ')}"


def file_of(image: Picture) -> bytes:
    """The bytes of an image file, so that every image takes the same way to its pixels."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return read_uri(os.fspath(image), {})
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if not isinstance(image, Image.Image):
        raise TypeError(f"an image is a path, a URI, bytes, an array or an image of Pillow, not {type(image).__name__}")
    buffer = io.BytesIO()
    shown = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else image.convert("RGB")
    shown.save(buffer, "PNG", compress_level=1, exif=image.getexif())
    return buffer.getvalue()


def _from_array(pixels: np.ndarray) -> Image.Image:
    """An image of an array: bytes as they are, floats from 0 to 1, one channel as grey.

    Raises:
        TypeError: for other numbers.
        ValueError: for other shapes, and for floats that are not from 0 to 1.
    """
    if pixels.dtype.kind == "f":
        # A hair outside is what resizing leaves; 0 to 255 as floats would be clipped to white.
        if pixels.size and not (pixels.min() >= -ROUNDING and pixels.max() <= 1 + ROUNDING):
            raise ValueError(
                f"an image's floats are from 0 to 1, these from {pixels.min():g} to {pixels.max():g}: divide them by "
                "255, or give uint8"
            )
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise TypeError(f"an image's numbers are uint8, or floats from 0 to 1, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise ValueError(f"an image has the shape (height, width), with 1, 3 or 4 channels or none, not {pixels.shape}")
    return Image.fromarray(pixels)
