"""What a backbone is, told without loading TensorFlow: the launcher needs it for the fingerprint."""

import hashlib
import os
from typing import NamedTuple

import fsspec


class WeightsError(ValueError):
    """Backbone weights that cannot be had or do not fit; the message says how to mend."""


class BackboneSpec(NamedTuple):
    """The contract of a backbone.

    Attributes:
        name: as on the command line.
        input_size: (height, width) in pixels that it takes.
        grid: (rows, columns, channels) of the features that it gives.
        resample: Pillow filter that brings an image to `input_size`.
        scale: pixels become `pixel * scale + offset` before the first layer.
        offset: see `scale`.
    """

    name: str
    input_size: tuple[int, int]
    grid: tuple[int, int, int]
    resample: str
    scale: float
    offset: float


INCEPTION_V3 = BackboneSpec(
    name="inception_v3",
    input_size=(299, 299),
    grid=(8, 8, 2048),
    resample="bilinear",
    scale=1 / 127.5,
    offset=-1.0,
)

BACKBONES = {spec.name: spec for spec in (INCEPTION_V3,)}

IMAGENET, RANDOM = "imagenet", "random"
RANDOM_SEED = 0


class ResolvedWeights(NamedTuple):
    """Weights as the launcher resolved them once, so that no worker chooses again.

    Attributes:
        source: "imagenet", "random", or the file's path or URI.
        digest: SHA-256 of the file's bytes; for "imagenet" the name that Keras pins by checksum.
    """

    source: str
    digest: str


def resolve_weights(source: str) -> ResolvedWeights:
    """Finds weights and their digest.

    Args:
        source: "imagenet" (Keras downloads the file and checks it), "random" (seeded, for tests), or a file.

    Raises:
        WeightsError: if the file cannot be read.
    """
    if source in (IMAGENET, RANDOM):
        return ResolvedWeights(source, source if source == IMAGENET else f"{RANDOM}-{RANDOM_SEED}")
    path = source if "://" in source else os.path.abspath(os.path.expanduser(source))
    try:
        with fsspec.open(path, "rb") as file:
            return ResolvedWeights(path, hashlib.sha256(file.read()).hexdigest())
    except (OSError, ValueError, ImportError) as error:
        raise WeightsError(f"--backbone-weights {source} cannot be read: {error}") from error
