"""Views of a photograph to train on: from few photographs a captioner learns more when it sees each in several ways."""

import hashlib

import numpy as np
from PIL import Image

WHOLE, MIRRORED = 0, 1
"""Every view after these is a random part."""

_SIDES = (0.65, 1.0)
"""Bounds of the part's sides, as shares of the photograph's: what a caption names should mostly still be in it."""


def view_of(pixels: np.ndarray, view: int) -> np.ndarray:
    """One view of a photograph.

    It depends on the pixels and the number alone, so that the same view can be made again and copies of a photograph
    have the same.

    Args:
        pixels: uint8 (height, width, 3).
        view: `WHOLE`; `MIRRORED`, left and right have changed places; 2 and more, for each number another random part,
            half of them mirrored.

    Returns:
        uint8 (height, width, 3).
    """
    if view == WHOLE:
        return pixels
    if view == MIRRORED:
        return pixels[:, ::-1]
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    random = np.random.default_rng((view, int.from_bytes(digest, "big")))
    height, width = (
        round(side * share) for side, share in zip(pixels.shape[:2], random.uniform(*_SIDES, 2), strict=True)
    )
    top, left = random.integers(pixels.shape[0] - height + 1), random.integers(pixels.shape[1] - width + 1)
    part = Image.fromarray(pixels[top : top + height, left : left + width])
    resized = np.asarray(part.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BICUBIC))
    return resized[:, ::-1] if random.random() < 0.5 else resized
