"""What a backbone is, told without loading TensorFlow: the launcher needs it for the fingerprint."""

import argparse
import difflib
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from beamscribe.model.backbone.applications import APPLICATIONS
from beamscribe.model.pretrained import EMBEDDED
from beamscribe.storage.location import shown
from beamscribe.storage.uri import read_uri

Engine = Callable[[np.ndarray], np.ndarray]
"""Pixels uint8 (batch, height, width, 3), RGB, to features float16 (batch, rows, columns, channels). May be called from
several threads at once."""


class WeightsError(ValueError):
    """Backbone weights that cannot be had or do not fit; the message says how to mend."""


class BackboneSpec(NamedTuple):
    """The contract of a backbone; how its pixels are scaled belongs to the engine that builds it.

    Attributes:
        name: as on the command line.
        input_size: (height, width) in pixels that it takes.
        grid: (rows, columns, channels) of the features that it gives.
        resample: Pillow filter that brings an image to `input_size`.
    """

    name: str
    input_size: tuple[int, int]
    grid: tuple[int, int, int]
    resample: str = "bilinear"


INCEPTION_V3 = BackboneSpec("inception_v3", (299, 299), (8, 8, 2048))
EFFICIENTNET_LITE2 = BackboneSpec("efficientnet_lite2", (260, 260), (9, 9, 1280), "bicubic")
EFFICIENTNET_LITE2_LEVELS = BackboneSpec("efficientnet_lite2_levels", (260, 260), (9, 9, 1680), "bicubic")
"""The same network and weights; cells carry what its lower levels see as well."""
LITE2 = (EFFICIENTNET_LITE2, EFFICIENTNET_LITE2_LEVELS)

BACKBONES = {
    spec.name: spec
    for spec in (
        INCEPTION_V3,
        *LITE2,
        *(
            BackboneSpec(name, (side, side), (cells, cells, channels))
            for name, (side, cells, channels) in APPLICATIONS.items()
        ),
    )
}


def backbone_name(name: str) -> str:
    """The name in `BACKBONES` that is meant, whatever its capitals and underscores: `InceptionV3` is `inception_v3`.

    Raises:
        ArgumentTypeError: if there is none; argparse shows its message.
    """
    names = {_plain(known): known for known in BACKBONES}
    if _plain(name) in names:
        return names[_plain(name)]
    close = difflib.get_close_matches(_plain(name), names, n=3, cutoff=0.5)
    near = f"; near: {', '.join(names[found] for found in close)}" if close else ""
    raise argparse.ArgumentTypeError(
        f"no backbone is called {name}: inception_v3, efficientnet_lite2, efficientnet_lite2_levels or a name of "
        f"keras.applications{near}"
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


EMBEDDED_LITE2 = os.path.join(EMBEDDED, "backbone.npz")
"""The ImageNet weights of efficientnet_lite2 that the embedded bundle carries."""

IMAGENET, RANDOM = "imagenet", "random"
RANDOM_SEED = 0


class ResolvedWeights(NamedTuple):
    """Weights as the launcher resolved them once, so that no worker chooses again.

    Attributes:
        source: "imagenet", "random", or the file's path or URI.
        digest: SHA-256 of the file's bytes; for "imagenet" the name that Keras pins by checksum.
        options: passed to fsspec where the file is remote.
    """

    source: str
    digest: str
    options: Mapping[str, Any] | None = None


def resolve_weights(source: str, spec: BackboneSpec, options: Mapping[str, Any] | None = None) -> ResolvedWeights:
    """Finds weights and their digest.

    Args:
        source: "imagenet" (Keras downloads the file and checks it; of efficientnet_lite2 they come with a checkout),
            "random" (seeded, for tests), or a file.
        spec: whose weights they are.
        options: passed to fsspec where the file is remote.

    Raises:
        WeightsError: if the file cannot be read.
    """
    if source == RANDOM:
        return ResolvedWeights(source, f"{RANDOM}-{RANDOM_SEED}")
    if source == IMAGENET and spec not in LITE2:
        return ResolvedWeights(source, source)
    if source == IMAGENET:
        path = EMBEDDED_LITE2
    else:
        path = source if "://" in source else os.path.abspath(os.path.expanduser(source))
    try:
        digest = hashlib.sha256(read_uri(path, dict(options or {}))).hexdigest()
    except (OSError, ValueError) as error:
        hint = "; they come with a checkout of Beamscribe, not with an installation" if source == IMAGENET else ""
        raise WeightsError(f"--backbone-weights {shown(source)} cannot be read: {error}{hint}") from error
    return ResolvedWeights(path, digest, options if "://" in path else None)
