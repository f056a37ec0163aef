"""Captions and voices image corpora of any size: from Python, each name is imported when it is first asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from beamscribe import native_logs

if TYPE_CHECKING:
    from beamscribe.command_line import main as main
    from beamscribe.looking import explain as explain
    from beamscribe.looking import report as report
    from beamscribe.model.bundle import open_bundle as open_bundle
    from beamscribe.model.captioning import CaptionWriter as CaptionWriter
    from beamscribe.model.captioning import DecodingOptions as DecodingOptions
    from beamscribe.model.images import decode_image as decode_image
    from beamscribe.notebook import Captioner as Captioner
    from beamscribe.notebook import featurize as featurize
    from beamscribe.notebook import speak as speak
    from beamscribe.schemas.coco import parse_coco as parse_coco
    from beamscribe.transforms import CaptionImages as CaptionImages
    from beamscribe.transforms import CaptionModelHandler as CaptionModelHandler
    from beamscribe.transforms import FeaturizeImages as FeaturizeImages
    from beamscribe.transforms import SpeakTexts as SpeakTexts

native_logs.install()

__version__ = "0.2.0"

PUBLIC = {
    "main": "beamscribe.command_line",
    "Captioner": "beamscribe.notebook",
    "featurize": "beamscribe.notebook",
    "speak": "beamscribe.notebook",
    "explain": "beamscribe.looking",
    "report": "beamscribe.looking",
    "CaptionModelHandler": "beamscribe.transforms",
    "CaptionImages": "beamscribe.transforms",
    "FeaturizeImages": "beamscribe.transforms",
    "SpeakTexts": "beamscribe.transforms",
    "CaptionWriter": "beamscribe.model.captioning",
    "DecodingOptions": "beamscribe.model.captioning",
    "decode_image": "beamscribe.model.images",
    "open_bundle": "beamscribe.model.bundle",
    "parse_coco": "beamscribe.schemas.coco",
}
"""Names for use from Python, each imported when it is first asked for."""


# Checkers of types read the imports above instead.
__all__ = [*PUBLIC]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
