"""Reads images again, as pixels, for a backbone that is trained on."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.model.images import decode_image
from beamscribe.model.views import view_of
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.storage.location import named_uri
from beamscribe.storage.uri import read_uri
from beamscribe.training.dataset import FeatureSet

THREADS = 4
"""Pillow and the network let go of the interpreter lock."""


@dataclass(frozen=True)
class PixelReader:
    """Reads and decodes images by the same function as everywhere.

    Attributes:
        features: says which images, where they were, and which views of them.
        spec: of the backbone that sees them.
        images_root: where they are now, if they have moved; they keep the names that their annotations give.
        storage_options: passed to fsspec.
    """

    features: FeatureSet
    spec: BackboneSpec
    images_root: str | None
    storage_options: dict[str, Any]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Pixels of some images, uint8 (n, height, width, 3).

        Raises:
            RefusedError: if one is no longer what featurize saw.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            return np.stack(list(pool.map(self._read, images)))

    def _read(self, image: int) -> np.ndarray:
        uri = self.features.uris[image]
        try:
            if self.images_root is not None:
                uri = f"{self.images_root.rstrip('/')}/{self.features.file_names[image]}"
            else:
                uri = named_uri(uri, allow_http=False).uri
            data = read_uri(uri, self.storage_options, max_bytes=MAX_BYTES)
            pixels = decode_image(data, self.spec.input_size, self.spec.resample).pixels
        except (OSError, ValueError) as error:
            raise RefusedError(
                f"{uri} cannot be read to tune the backbone on it ({error}): say where the images are now with "
                f"--images-root FOLDER"
            ) from error
        return view_of(pixels, int(self.features.views[image]))
