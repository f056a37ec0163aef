"""Where the captioner looked for each word, as small as a page needs it."""

import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from beamscribe.model.bundle import Bundle

if TYPE_CHECKING:
    from beamscribe.model.attention_maps import AttentionMaps, WordAttention

BATCH_SIZE = 32


class LookedAt(NamedTuple):
    """A caption's words with a map each.

    Attributes:
        words: as the caption writes them.
        rows, columns: of the maps.
        maps: base64 of one byte a cell, map after map, row by row: 0 least and 255 most looked at for this word.
    """

    words: tuple[str, ...]
    rows: int
    columns: int
    maps: str


def open_attention(bundle: Bundle) -> Callable[[Sequence[np.ndarray], Sequence[str]], list[LookedAt]]:
    """A function from pixels (of the backbone's input size) and captions to what was looked at.

    Raises:
        NoAttentionError: of `beamscribe.model.attention_maps`, from the function, if the decoder looks at no places.
        BundleError, WeightsError: if the bundle cannot be loaded.
    """
    from beamscribe.model.attention_maps import AttentionMaps  # TensorFlow, only where there is something to show.
    from beamscribe.model.backbone.network import Backbone

    backbone = Backbone(bundle.backbone, bundle.backbone_weights)
    maps = AttentionMaps(bundle)

    def look(pixels: Sequence[np.ndarray], captions: Sequence[str]) -> list[LookedAt]:
        found: list[LookedAt] = []
        for start in range(0, len(pixels), BATCH_SIZE):
            features = backbone(np.stack(pixels[start : start + BATCH_SIZE]))
            found += [small(words, maps) for words in maps.of_words(features, captions[start : start + BATCH_SIZE])]
        return found

    return look


def small(words: Sequence["WordAttention"], maps: "AttentionMaps") -> LookedAt:
    """Maps of a caption as bytes, each stretched over the whole range, since their peaks differ threefold."""
    stretched = b"".join(_stretched(word.weights).tobytes() for word in words)
    return LookedAt(tuple(word.word for word in words), *maps.grid, base64.b64encode(stretched).decode())


def _stretched(weights: np.ndarray) -> np.ndarray:
    low, high = float(weights.min()), float(weights.max())
    return np.rint((weights - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
