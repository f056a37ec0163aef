"""A bundle of `beamscribe train` as a captioner."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from beamscribe.model.backbone.choice import INT8, Choice
from beamscribe.model.bundle import Bundle, copy_bundle, open_bundle
from beamscribe.model.captioner_interface import ImageInput, Pixels, Written
from beamscribe.model.versions import DETOKENIZER_VERSION, SEARCH_VERSION
from beamscribe.pipelines.images.inference import Inference
from beamscribe.pipelines.work.cores import SIDE_BY_SIDE
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas import manifest
from beamscribe.schemas.caption_row import Alternative
from beamscribe.storage.storage import Storage

if TYPE_CHECKING:
    from beamscribe.model.captioning import CaptionWriter

BUNDLES = f"{manifest.FOLDER}/bundles"


@dataclass(frozen=True)
class BundleSource:
    """How to load a bundle.

    Attributes:
        bundle: path or URI, never the model itself; workers elsewhere are given a copy's URI.
        beam_size: captions kept at each step.
        max_length: tokens of a caption at most.
        batch_size: images a model call takes.
        choice: engine and precision, resolved by the launcher.
        from_pixels: whether there are images to do, or features alone.
        storage_options: passed to fsspec where the bundle is remote.
    """

    bundle: str
    beam_size: int
    max_length: int
    batch_size: int
    choice: Choice = Choice()
    from_pixels: bool = True
    storage_options: dict[str, Any] = field(default_factory=dict)
    calls_at_once: int = SIDE_BY_SIDE

    def stage_artifacts(self, output: Storage) -> "BundleSource":
        """With a copy of a local bundle."""
        if "://" in self.bundle:
            return self
        return dataclasses.replace(self, bundle=copy_bundle(open_bundle(self.bundle), output, BUNDLES))

    def open(self, run: Run) -> "BundleCaptioner":
        """Loads the bundle, and compiles what its first call would compile."""
        from beamscribe.model.captioning import (  # TensorFlow, only where there is work to do.
            CaptionWriter,
            DecodingOptions,
        )

        bundle = open_bundle(self.bundle, self.storage_options)
        writer = CaptionWriter(bundle, DecodingOptions(self.beam_size, self.max_length), self.choice)
        fields = bundle_fields(bundle, self.beam_size, self.max_length, self.choice)
        captioner = BundleCaptioner(writer, bundle, self.batch_size, fields)
        if self.from_pixels:
            captioner.warm_up()
        return captioner


class BundleCaptioner:
    """CNN and Transformer of a bundle, behind batches of fixed sizes.

    Args:
        writer: the models.
        bundle: that they are of.
        batch_size: images a model call takes.
        fingerprint_fields: see `model.captioner_interface.Captioner`.
    """

    def __init__(
        self,
        writer: "CaptionWriter",
        bundle: Bundle,
        batch_size: int,
        fingerprint_fields: Mapping[str, str | int | float | bool],
    ) -> None:
        spec = bundle.backbone
        self.fingerprint_fields = fingerprint_fields
        self.wants = Pixels(spec.input_size, spec.resample)
        self.batch_size = batch_size
        self.grid = spec.grid
        self._from_pixels = Inference(writer.caption_pixels, batch_size)
        self._from_features = Inference(writer.caption_features, batch_size)

    def warm_up(self) -> None:
        """Compiles what the first call would compile."""
        self._from_pixels.warm_up((*self.wants.input_size, 3), np.uint8)

    def caption(self, images: Sequence[ImageInput]) -> Iterator[Written | Exception]:
        """Captions of images."""
        return map(_written, self._from_pixels([image.pixels for image in images]))

    def caption_features(self, features: Sequence[np.ndarray]) -> Iterator[Written | Exception]:
        """Captions of features.

        Args:
            features: float16 (rows, columns, channels) each.
        """
        return map(_written, self._from_features(features))


def _written(result: tuple[Alternative, ...] | Exception) -> Written | Exception:
    return result if isinstance(result, Exception) else Written(result)


def bundle_fields(
    bundle: Bundle, beam_size: int, max_length: int, choice: Choice
) -> dict[str, str | int | float | bool]:
    """What of a bundle, and of how it is used, can change a row."""
    int8 = {"quantized_backbone": bundle.quantized_digest} if choice.precision == INT8 else {}
    confidence = {"confidence": bundle.calibration_digest} if bundle.calibration_digest else {}
    return {
        "backbone": bundle.backbone.name,
        "backbone_weights": bundle.backbone_weights.digest,
        "captioner_weights": bundle.weights_digest,
        "vocabulary": bundle.vocabulary_digest,
        "search": SEARCH_VERSION,
        "detokenizer": DETOKENIZER_VERSION,
        "beam_size": beam_size,
        "max_length": max_length,
        "engine": choice.engine,
        "precision": choice.precision,
        **int8,
        **confidence,
    }
