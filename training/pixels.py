"""Images as pixels with captions, for a backbone that is trained on."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.backbone.spec import BackboneSpec
from model.images import ImageError, decode_image
from model.storage import read_uri
from schemas.command import RefusedError
from training.dataset import FeatureSet

THREADS = 4
"""Pillow and the network let go of the interpreter lock."""


@dataclass(frozen=True)
class PixelSet:
    """Images that are read and decoded whenever they are needed, by the same function as everywhere.

    Attributes:
        ids: of the images.
        uris: where they are.
        spec: of the backbone that sees them.
        storage_options: passed to fsspec.
    """

    ids: tuple[str, ...]
    uris: tuple[str, ...]
    spec: BackboneSpec
    storage_options: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the model is given of one image: (height, width, 3)."""
        return (*self.spec.input_size, 3)

    @property
    def dtype(self) -> np.dtype:
        """Of what the model is given."""
        return np.dtype(np.uint8)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Pixels of some images, uint8 (n, height, width, 3).

        Raises:
            RefusedError: if one is no longer what featurize saw.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            return np.stack(list(pool.map(self._read, [self.uris[image] for image in images])))

    def _read(self, uri: str) -> np.ndarray:
        try:
            return decode_image(read_uri(uri, self.storage_options), self.spec.input_size, self.spec.resample).pixels
        except (OSError, ImageError) as error:
            raise RefusedError(
                f"{uri} cannot be read to tune the backbone on it ({error}): say where the images are now with "
                f"--images-root FOLDER"
            ) from error


def pixel_set(
    features: FeatureSet, spec: BackboneSpec, images_root: str | None, storage_options: dict[str, Any]
) -> PixelSet:
    """The images of a feature set.

    Args:
        features: says which, and where they were.
        spec: of the backbone that sees them.
        images_root: where they are now, if they have moved; they keep the names that their annotations give.
        storage_options: passed to fsspec.
    """
    uris = features.uris
    if images_root is not None:
        uris = tuple(f"{images_root.rstrip('/')}/{name}" for name in features.file_names)
    return PixelSet(features.ids, uris, spec, storage_options)
