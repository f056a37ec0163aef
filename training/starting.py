"""Begins with what another bundle has learned already."""

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model import weights
from beamscribe.model.bundle import Bundle, BundleError, open_bundle
from beamscribe.model.captioner import Captioner
from beamscribe.model.ensemble import member_name

_BY_TOKEN = ("decoder/embedding/tokens/embeddings", "decoder/bias")
"""Variables with a row a token, which follow the vocabulary."""


def digest_of(uri: str) -> str:
    """Stands for what the captioner of a bundle has learned.

    Raises:
        RefusedError: if it is none.
    """
    try:
        return open_bundle(uri).weights_digest
    except BundleError as error:
        raise RefusedError(f"--start-from {uri}: {error}") from error


def start_from(captioner: Captioner, vocabulary: list[str], uri: str) -> None:
    """Gives a captioner the weights of a bundle's, the first where it has several.

    Tokens that both vocabularies have keep their embeddings; others begin as they would without the bundle.

    Args:
        captioner: built, of the same sizes but for the vocabulary.
        vocabulary: its tokens.
        uri: of the bundle.

    Raises:
        RefusedError: if the bundle cannot be read or its captioner has other sizes.
    """
    try:
        bundle = open_bundle(uri)
        _load(captioner, vocabulary, bundle)
    except (BundleError, ValueError, KeyError) as error:
        raise RefusedError(
            f"--start-from {uri}: {error}: give a bundle whose captioner has the sizes of the recipe"
        ) from error


def _load(captioner: Captioner, vocabulary: list[str], bundle: Bundle) -> None:
    values = dict(bundle.arrays())
    prefix = f"{member_name(0)}/"
    if any(name.startswith(prefix) for name in values):
        values = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    places = {token: place for place, token in enumerate(bundle.vocabulary())}
    pairs = [(own, places[token]) for own, token in enumerate(vocabulary) if token in places]
    mine, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    fresh = weights.arrays(weights.to_npz(captioner))
    for name in _BY_TOKEN:
        rows = np.array(fresh[name])
        rows[mine] = values[name][theirs]
        values[name] = rows
    weights.assign(captioner, values)
