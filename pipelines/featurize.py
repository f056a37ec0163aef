"""`beamscribe featurize`: COCO captions and photographs to TFRecords of precomputed backbone features."""

import argparse
import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from model.backbone.choice import TENSORFLOW, Choice
from model.backbone.spec import BACKBONES, ResolvedWeights, WeightsError, resolve_weights
from model.images import PILLOW_VERSION, POLICY_VERSION
from model.storage import Storage
from model.uri import read_uri
from model.views import view_of
from pipelines import options
from pipelines.choosing import choose_for
from pipelines.commits.commit import Process, Receipt, Run
from pipelines.commits.manifest_file import is_resumed
from pipelines.commits.rows import RowKey
from pipelines.commits.shards import Shard
from pipelines.corpora.annotated import refuse_other_folder
from pipelines.corpora.corpus import Skipped, distinct
from pipelines.corpora.listing import annotated_images
from pipelines.corpora.reference import Reference, captions_digest
from pipelines.dry_run import dry_run
from pipelines.flags import jobs
from pipelines.flags.featurize import parser
from pipelines.images.batches import Batches
from pipelines.images.inference import INFER, NOT_FINITE, Inference
from pipelines.images.loading import load_shard
from pipelines.images.once import Once, Remembered
from pipelines.images.reading import LoadedImage, Reading, failure
from pipelines.images.stages import Spent
from pipelines.launch import Request, launch
from pipelines.runners import is_dry
from pipelines.running import share_cores
from schemas import feature_example, manifest
from schemas.coco import CocoError, describe, left_out, parse_coco, repeated_images
from schemas.command import RefusedError
from schemas.failure_row import FailureRow
from schemas.feature_example import FeatureExample
from schemas.fingerprint import Fingerprint
from schemas.printable import printable

KNOWN_GRIDS = 256
"""Grids that are remembered for equal images: 64 MB of InceptionV3's."""

WEIGHTS = f"{manifest.FOLDER}/weights"


@dataclass(frozen=True)
class FeatureRecords:
    """Feature examples as GZIP TFRecord files."""

    folder: str = feature_example.FOLDER
    suffix: str = ".tfrecord.gz"
    holds_captions: bool = True

    def encode(self, rows: Iterable[FeatureExample]) -> bytes:
        """The examples as the bytes of one file."""
        from model.examples import encode_file  # TensorFlow is loaded only where there is work to do.

        return encode_file(rows)

    def read_keys(self, data: bytes, name: str) -> list[RowKey]:
        """Ids, fingerprints and digests of the captions in a file."""
        from model.examples import decode_file

        return [
            RowKey(
                example.id,
                example.fingerprint,
                captions_digest(list(zip(example.caption_ids, example.captions, strict=False))),
            )
            for example in decode_file(data, name)
        ]

    def only(self, data: bytes, name: str, ids: Collection[str]) -> bytes:
        """A file with the examples of some ids alone."""
        from model.examples import decode_file

        return self.encode(example for example in decode_file(data, name) if example.id in ids)


@dataclass(frozen=True)
class FeaturizeJob:
    """Pixels to features.

    Attributes:
        backbone: name of the backbone.
        weights: resolved by the launcher.
        batch_size: images a model call takes.
        view: which view of each photograph, see `model.views`.
        reading: how to read images.
        choice: engine and precision, resolved by the launcher.
    """

    backbone: str
    weights: ResolvedWeights
    batch_size: int
    view: int
    reading: Reading
    choice: Choice = Choice()
    name: str = "featurize"
    shards_at_once: int = 2
    format: FeatureRecords = dataclasses.field(default_factory=FeatureRecords)

    def carried(self, output: Storage) -> "FeaturizeJob":
        """With a copy of a local weights file."""
        source, digest, _ = self.weights
        if not os.path.isfile(source):
            return self
        copy = f"{WEIGHTS}/{digest[:16]}/{os.path.basename(source)}"
        if not output.exists(copy):
            output.write(copy, read_uri(source, {}))
        return dataclasses.replace(self, weights=ResolvedWeights(output.uri(copy), digest, output.options))

    def open(self, run: Run) -> Process:
        """Loads the backbone."""
        from model.backbone.engine import open_engine

        spec = BACKBONES[self.backbone]
        engine = open_engine(spec, self.weights, self.choice)

        def see(pixels: np.ndarray) -> np.ndarray:
            return engine(np.stack([view_of(image, self.view) for image in pixels]) if self.view else pixels)

        inference: Inference[np.ndarray] = Inference(see, self.batch_size)
        inference.warm_up((*spec.input_size, 3), np.uint8)
        batches = Batches(lambda images: inference([item.image.pixels for item in images]), self.batch_size)
        see_once = Once(batches, Remembered[np.ndarray](KNOWN_GRIDS))

        def process(shard: Shard) -> Iterator[FeatureExample | FailureRow | Spent]:
            for outcome in see_once(load_shard(shard, spec, self.reading, run, self.batch_size)):
                if isinstance(outcome, FailureRow | Spent):
                    yield outcome
                else:
                    yield example_of(*outcome, run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """None."""
        return []

    def tidy(self, output: Storage) -> None:
        """Everything is in the rows."""


def example_of(item: LoadedImage, grid: np.ndarray | Exception, run: Run) -> FeatureExample | FailureRow:
    """The record of one image.

    Args:
        item: decoded.
        grid: float16 (rows, columns, channels), or why the backbone cannot take it.
        run: for fingerprint and start.
    """
    if isinstance(grid, Exception):
        return failure(item.todo, INFER, type(grid).__name__, str(grid), run.started)
    if not np.isfinite(grid).all():
        return failure(item.todo, INFER, "NonFinite", NOT_FINITE, run.started)
    reference = item.todo.reference
    rows, columns, channels = grid.shape
    return FeatureExample(
        id=reference.id,
        file_name=reference.file_name,
        uri=reference.uri,
        sha256=item.sha256,
        width=item.image.width,
        height=item.image.height,
        repairs=item.image.repairs,
        features=grid.astype("<f2").tobytes(),
        shape=(rows, columns, channels),
        captions=tuple(caption.text for caption in reference.captions),
        caption_ids=tuple(caption.id for caption in reference.captions),
        fingerprint=run.fingerprint,
        run_started=run.started.isoformat(),
    )


def run(argv: Sequence[str]) -> int:
    """Parses, builds, runs.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours, beam_options = options.parse(parser(), argv)
    share_cores(beam_options)
    flags = jobs.job_flags(ours)
    if is_dry(beam_options):
        unasked = ResolvedWeights(ours.backbone_weights, "")
        job = FeaturizeJob(ours.backbone, unasked, ours.batch_size, ours.view, options.reading(ours))
        return dry_run(job, ours.output, beam_options)
    output = options.output_of(ours, [ours.images])
    try:
        corpus = parse_coco(read_uri(ours.annotations, flags.storage_options))
    except OSError as error:
        raise RefusedError(f"--annotations {ours.annotations} cannot be read: {error}") from error
    except CocoError as error:
        raise RefusedError(f"--annotations {ours.annotations}: {error}") from error
    if corpus.defects:
        told = f"beamscribe featurize: {ours.annotations} has defects, which are left out:\n{describe(corpus.defects)}"
        print(printable(told, lines=True))
    try:
        weights = resolve_weights(ours.backbone_weights, BACKBONES[ours.backbone], flags.storage_options)
    except WeightsError as error:
        raise RefusedError(str(error)) from error
    options.refuse_web([ours.images], ours)
    listing: Iterator[Reference | Skipped] = chain(
        annotated_images(corpus.images, ours.images, flags.storage_options),
        (Skipped(reason, count) for reason, count in left_out(corpus.defects).items()),
    )
    found = distinct(listing, flags.limit)
    repeated = repeated_images(corpus.defects)
    references = found._replace(repeated=found.repeated + repeated, listed=found.listed + repeated)
    choice = choose_for(output, ours.engine, ours.precision, False, lambda choice: _fingerprint(ours, weights, choice))
    fingerprint = _fingerprint(ours, weights, choice)
    if not is_resumed(output, fingerprint):
        refuse_other_folder(corpus.images, ours.images, flags.storage_options)
        _try_weights(ours.backbone, weights)
    return launch(
        Request(
            job=FeaturizeJob(ours.backbone, weights, ours.batch_size, ours.view, options.reading(ours), choice),
            corpus=references,
            output=output,
            fingerprint=fingerprint,
            details={
                "backbone": ours.backbone,
                "weights": weights.source,
                "weights_digest": weights.digest,
                **choice._asdict(),
            },
            flags=flags,
            options=beam_options,
        )
    )


def _fingerprint(ours: argparse.Namespace, weights: ResolvedWeights, choice: Choice) -> Fingerprint:
    # Outputs from before there was another engine do not name it, and go on.
    engine = {"engine": choice.engine} if choice.engine != TENSORFLOW else {}
    return Fingerprint(
        {
            "decode_policy": POLICY_VERSION,
            "pillow": PILLOW_VERSION,
            "backbone": ours.backbone,
            "backbone_weights": weights.digest,
            "view": ours.view,
            "precision": choice.precision,
            **engine,
        }
    )


def _try_weights(backbone: str, weights: ResolvedWeights) -> None:
    from model.backbone.network import build_backbone

    try:
        build_backbone(BACKBONES[backbone], weights)
    except WeightsError as error:
        raise RefusedError(str(error)) from error
