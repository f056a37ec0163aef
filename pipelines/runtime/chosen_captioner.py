"""A captioner as the launcher knows it, whichever it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beamscribe.model.captioner_interface import Captioner, Encoded
from beamscribe.model.images import PILLOW_VERSION, POLICY_VERSION
from beamscribe.pipelines.captioners.source import CaptionerSource
from beamscribe.pipelines.images.sample_columns import SampleColumns
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.rows import CAPTIONS, ParquetRows


@dataclass(frozen=True)
class ChosenCaptioner:
    """A captioner as the launcher knows it.

    Attributes:
        source: how workers load it.
        fingerprint: what can change a row.
        details: kept in the manifest for later commands.
        check: whether it can be loaded, at some cost; raises `RefusedError`.
        features: lists outputs of featurize for it; None if it takes no features.
        format: of the rows.
        columns: what is kept of what stands beside images in archives.
    """

    source: CaptionerSource
    fingerprint: Fingerprint
    details: dict[str, Any]
    check: Callable[[], None] = lambda: None
    features: Callable[[list[str], int | None], Corpus] | None = None
    format: ParquetRows = CAPTIONS
    columns: SampleColumns | None = None


def image_fields(captioner: Captioner) -> dict[str, str | int | float | bool]:
    """What can change the image that a captioner is given."""
    wants = captioner.wants
    fields: dict[str, str | int | float | bool] = {"decode_policy": POLICY_VERSION, "pillow": PILLOW_VERSION}
    if isinstance(wants, Encoded):
        fields |= {"max_side": wants.max_side, "jpeg_quality": wants.quality}
    else:
        fields |= {"image_size": "×".join(map(str, wants.input_size))}
    return fields | {"resample": wants.resample}
