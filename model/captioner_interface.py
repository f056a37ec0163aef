"""What every captioner offers: the bundle, a KerasHub model, a service behind an endpoint, and a class of a user's own.

A captioner is an object with three attributes and one method, see `Captioner`. Importing this module loads no model.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.schemas.caption_row import Alternative


class Pixels(NamedTuple):
    """A captioner takes decoded pixels of one size.

    Attributes:
        input_size: (height, width) in pixels; the aspect is not kept.
        resample: Pillow filter, "bilinear" or "bicubic".
    """

    input_size: tuple[int, int]
    resample: str = "bicubic"


class Encoded(NamedTuple):
    """A captioner takes JPEG files of upright RGB images, whatever format the original has.

    Attributes:
        max_side: longest side in pixels at most; smaller images are not enlarged.
        quality: of the JPEG, 1 to 95.
        resample: Pillow filter.
    """

    max_side: int
    quality: int = 90
    resample: str = "bicubic"


class ImageInput(NamedTuple):
    """One image as a captioner is given it.

    Attributes:
        id: of the row.
        sha256: of the original file's bytes.
        pixels: uint8 (height, width, 3), RGB; empty where the captioner wants `Encoded`.
        encoded: a JPEG file; empty where the captioner wants `Pixels`.
        fields: texts that come with the image, such as kept columns of a manifest.
        attempts: runs that have failed at it.
    """

    id: str
    sha256: str
    pixels: np.ndarray
    encoded: bytes = b""
    fields: Mapping[str, str] = {}
    attempts: int = 0


class Written(NamedTuple):
    """What a captioner wrote of one image; the fields after the first are columns of the row.

    Attributes:
        alternatives: captions with scores, best first; at least one.
        model, prompt_digest, tokens_in, tokens_out, finish_reason, structured: see `schemas.caption_row.SCHEMA`.
    """

    alternatives: tuple[Alternative, ...]
    model: str | None = None
    prompt_digest: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    structured: dict[str, Any] | None = None


class CaptionError(Exception):
    """A captioner has no caption for one image.

    Attributes:
        error_type: one word for the failure row.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(error_type, message)
        self.error_type = error_type

    def __str__(self) -> str:
        text: str = self.args[1]
        return text


Outcome = Written | str | Exception
"""What becomes of one image; a text stands for one caption without a score."""


class Captioner(Protocol):
    """Writes captions; loaded once a process, called in several threads.

    Attributes:
        fingerprint_fields: everything that can change a caption (name, version, prompt, sampling), as JSON scalars.
        wants: what it takes of an image.
        batch_size: images that one call takes at most.
    """

    @property
    def fingerprint_fields(self) -> Mapping[str, str | int | float | bool]:
        """See above."""
        ...

    @property
    def wants(self) -> Pixels | Encoded:
        """See above."""
        ...

    @property
    def batch_size(self) -> int:
        """See above."""
        ...

    def caption(self, images: Sequence[ImageInput]) -> Iterable[Outcome]:
        """Captions of images.

        Args:
            images: at most `batch_size`.

        Returns:
            One outcome for each image, in order: a caption, or the error that becomes its failure row.
        """
        ...


def load_captioner_class(name: str) -> Captioner:
    """A captioner of a class that is named `package.module:Class`; its constructor takes no arguments.

    Raises:
        RefusedError: if there is no such class, it does not start, or it lacks what a captioner offers.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise RefusedError(f"--captioner {name}: write package.module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise RefusedError(
            f"--captioner {name} cannot be made ({type(error).__name__}: {error}): it must be importable, and "
            "its constructor take no arguments"
        ) from error
    lacking = [part for part in ("fingerprint_fields", "wants", "batch_size", "caption") if not hasattr(found, part)]
    if lacking:
        raise RefusedError(
            f"--captioner {name} has no {', '.join(lacking)}: docs/captioners.md says what a captioner offers"
        )
    captioner: Captioner = found
    return captioner
