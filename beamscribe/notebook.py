"""For use from Python and notebooks: `from beamscribe import Captioner, featurize, speak`.

Whole corpora are for the jobs, which can be run from Python too: `beamscribe.main(["caption", "--images", …])`.
"""

import io
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from beamscribe.model.backbone.spec import BACKBONES, IMAGENET, BackboneSpec, backbone_name, resolve_weights
from beamscribe.model.bundle import open_bundle
from beamscribe.model.images import ImageError, decode_image
from beamscribe.model.pretrained import default_bundle
from beamscribe.pipelines.speak import normalize_text
from beamscribe.pipelines.speech import SpeechSettings, open_engine
from beamscribe.pipelines.speech.audio import check_audio, transcode
from beamscribe.schemas.caption_row import Alternative
from beamscribe.storage.uri import read_uri

if TYPE_CHECKING:
    from beamscribe.model.captioning import CaptionWriter

Picture = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path or URI, the bytes of an image file, an image of Pillow, or an array (height, width[, 1, 3 or 4 channels])."""

BATCH_SIZE = 32
ROUNDING = 1e-3


class Caption(NamedTuple):
    """What a captioner says of one image, or why it says nothing.

    Attributes:
        text: an English sentence; empty where there is an error.
        score: mean natural-log probability of its tokens; 0 is certain, NaN where there is an error.
        alternatives: what else beam search ended with, best first.
        error: why there is no caption, such as "NotAnImage: …"; None where there is one.
        confidence: chance that the caption is acceptable, 0 to 1; None where the bundle was not calibrated.
    """

    text: str
    score: float
    alternatives: tuple[Alternative, ...] = ()
    error: str | None = None
    confidence: float | None = None


class Captioner:
    """Captions images; the model is loaded once.

    >>> from beamscribe import Captioner
    >>> captioner = Captioner.load()
    >>> from skimage import data
    >>> captions = captioner.caption([data.astronaut(), data.chelsea()])
    >>> len(captions)
    2
    >>> captions[0].text  # doctest: +ELLIPSIS
    'A ....'
    >>> -1 < captions[0].score < 0
    True
    """

    def __init__(self, writer: "CaptionWriter", spec: BackboneSpec) -> None:
        self._writer = writer
        self._spec = spec

    @classmethod
    def load(cls, bundle: str | None = None, beam_size: int = 3, max_length: int = 24) -> "Captioner":
        """Opens a bundle.

        Args:
            bundle: path or URI of a folder that `beamscribe train` wrote; by default `$BEAMSCRIBE_MODEL`, else the one
                that comes with a checkout.
            beam_size: captions kept at each step; 1 is greedy.
            max_length: tokens of a caption at most.

        Raises:
            BundleError: if it is no bundle or a damaged one.
            NoBundleError: if none is given and there is none.
        """
        from beamscribe.model.captioning import (  # TensorFlow, only where there is work to do.
            CaptionWriter,
            DecodingOptions,
        )

        opened = open_bundle(bundle or default_bundle())
        return cls(CaptionWriter(opened, DecodingOptions(beam_size, max_length)), opened.backbone)

    def caption(self, images: Picture | Sequence[Picture]) -> list[Caption]:
        """Captions of images, in their order: one for each, whatever the others are.

        Args:
            images: one or many of any kind of `Picture`, mixed as you like; also an array
                (images, height, width, channels).

        Returns:
            A caption for each image. One that cannot be read or decoded has none, and its `error` says why.
        """
        many = _many(images)
        found: list[Caption] = []
        for start in range(0, len(many), BATCH_SIZE):
            found += self._caption_batch(many[start : start + BATCH_SIZE])
        return found

    def _caption_batch(self, images: Sequence[Picture]) -> list[Caption]:
        found = [_pixels_or_error(image, self._spec) for image in images]
        pixels = [one for one in found if isinstance(one, np.ndarray)]
        written = iter(self._writer.caption_pixels(padded(pixels))[: len(pixels)] if pixels else ())
        return [
            Caption("", math.nan, error=one) if isinstance(one, str) else _caption_of(next(written)) for one in found
        ]


def _caption_of(alternatives: tuple[Alternative, ...]) -> Caption:
    if not alternatives:
        return Caption("", math.nan, (), "NoCaption: the captioner gives none for this image")
    best = alternatives[0]
    score = math.nan if best.score is None else best.score
    return Caption(best.caption, score, alternatives[1:], confidence=best.confidence)


def featurize(
    images: Picture | Sequence[Picture], backbone: str = "efficientnet_lite2", weights: str = IMAGENET
) -> np.ndarray:
    """Features of images, as the job of this name stores them.

    >>> from beamscribe import featurize
    >>> import numpy as np
    >>> features = featurize([np.zeros((100, 200, 3), np.uint8)])
    >>> features.shape, features.dtype
    ((1, 9, 9, 1280), dtype('float16'))

    Args:
        images: one or many of any kind of `Picture`.
        backbone: a name that `beamscribe featurize --backbone` takes.
        weights: "imagenet", a file, or "random".

    Returns:
        float16 (images, rows, columns, channels).

    Raises:
        ValueError: if one cannot be read or decoded, naming it.
        WeightsError: if the weights cannot be had or do not fit.
    """
    from beamscribe.model.backbone.network import Backbone  # TensorFlow, only where there is work to do.

    spec = BACKBONES[backbone_name(backbone)]
    many = _many(images)
    see = Backbone(spec, resolve_weights(weights, spec))
    grids = [_features(many, start, spec, see) for start in range(0, len(many), BATCH_SIZE)]
    return np.concatenate([np.empty((0, *spec.grid), np.float16), *grids])


def speak(text: str, engine: str = "espeak", language: str = "en", voice: str = "", format: str = "mp3") -> bytes:
    """One text as the bytes of an audio file; in a notebook, `IPython.display.Audio(speak("Hello"))` plays it.

    >>> from beamscribe import speak
    >>> audio = speak("A dog runs along the beach.", format="wav")
    >>> audio[:4], audio[8:12]
    (b'RIFF', b'WAVE')

    Args:
        text: what to say.
        engine: "espeak" needs no network, "gtts" asks Google Translate's voice.
        language: IETF language tag.
        voice: of espeak; by default the language's.
        format: "mp3", "ogg", "flac" or "wav".

    Raises:
        SpeechError: if there is no good audio for the text.
    """
    opened = open_engine(SpeechSettings(engine, language, voice))
    try:
        data = transcode(opened.synthesize(normalize_text(text)), format)
    finally:
        opened.close()
    check_audio(data, text)
    return data


def _features(
    images: Sequence[Picture], start: int, spec: BackboneSpec, see: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """float16 features of a batch of images.

    Raises:
        ValueError: naming the first image that has none.
    """
    found = [_pixels_or_error(image, spec) for image in images[start : start + BATCH_SIZE]]
    for place, one in enumerate(found, start):
        if isinstance(one, str):
            raise ValueError(f"image {place} has no features: {one}")
    pixels = [one for one in found if isinstance(one, np.ndarray)]
    return see(padded(pixels))[: len(pixels)].astype(np.float16)


def _many(images: Picture | Sequence[Picture]) -> Sequence[Picture]:
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


def _pixels_or_error(image: Picture, spec: BackboneSpec) -> np.ndarray | str:
    """Pixels of the backbone's size, or what is wrong with the image."""
    try:
        return decode_image(_file(image), spec.input_size, spec.resample).pixels
    except (ImageError, OSError, TypeError, ValueError) as error:
        return reason(image, error)


def reason(image: Picture, error: Exception) -> str:
    """Why an image has no result, in one line: the kind of the error, the file where there is one, and the message."""
    where = f"{os.fspath(image)}: " if isinstance(image, str | os.PathLike) else ""
    kind = error.error_type if isinstance(error, ImageError) else type(error).__name__
    return f"{kind}: {where}{str(error).removeprefix(f'{kind}: ')}"


def _file(image: Picture) -> bytes:
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
