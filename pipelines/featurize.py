"""`beamscribe featurize`: COCO captions and photographs to TFRecords of precomputed backbone features."""

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.choice import TENSORFLOW, Choice
from beamscribe.model.backbone.spec import BACKBONES, ResolvedWeights, WeightsError, resolve_weights
from beamscribe.model.feature_records import FeatureRecords
from beamscribe.model.images import PILLOW_VERSION, POLICY_VERSION
from beamscribe.model.views import view_of
from beamscribe.pipelines.commits.manifest_file import is_resumed
from beamscribe.pipelines.images.batches import Batches
from beamscribe.pipelines.images.dedup_cache import DedupCache, Remembered
from beamscribe.pipelines.images.inference import INFER, NOT_FINITE, Inference
from beamscribe.pipelines.images.loading import load_shard
from beamscribe.pipelines.images.reading import LoadedImage, Reading
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.choosing import choose_for
from beamscribe.pipelines.runtime.dry_run import dry_run
from beamscribe.pipelines.runtime.flags import jobs
from beamscribe.pipelines.runtime.flags.featurize import parser
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.runners import is_dry
from beamscribe.pipelines.runtime.running import share_cores
from beamscribe.pipelines.sources.annotated import refuse_other_folder
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.sources.listing import annotated_images
from beamscribe.pipelines.sources.taught import taught_images
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import manifest
from beamscribe.schemas.coco import CocoCorpus, CocoError, describe, left_out, parse_coco, repeated_images
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.stage_metrics import StageMetrics
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import read_uri

KNOWN_GRIDS = 256
"""Grids that are remembered for equal images: 64 MB of InceptionV3's."""

WEIGHTS = f"{manifest.FOLDER}/weights"


@dataclass(frozen=True)
class FeaturizeJob:
    """Pixels to features.

    Attributes:
        backbone: name of the backbone.
        weights: resolved by the launcher.
        batch_size: images a model call takes.
        view: which view of each photograph, see `beamscribe.model.views`.
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

    def stage_artifacts(self, output: Storage) -> "FeaturizeJob":
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
        from beamscribe.model.backbone.engine import open_engine

        spec = BACKBONES[self.backbone]
        engine = open_engine(spec, self.weights, self.choice)

        def see(pixels: np.ndarray) -> np.ndarray:
            return engine(np.stack([view_of(image, self.view) for image in pixels]) if self.view else pixels)

        inference: Inference[np.ndarray] = Inference(see, self.batch_size)
        inference.warm_up((*spec.input_size, 3), np.uint8)
        batches = Batches(lambda images: inference([item.image.pixels for item in images]), self.batch_size)
        see_once = DedupCache(batches, Remembered[np.ndarray](KNOWN_GRIDS))

        def process(shard: Shard) -> Iterator[FeatureExample | FailureRow | StageMetrics]:
            for outcome in see_once(load_shard(shard, spec, self.reading, run, self.batch_size)):
                if isinstance(outcome, FailureRow | StageMetrics):
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
    args, beam_options = options.parse(parser(), argv)
    share_cores(beam_options)
    flags = jobs.job_flags(args)
    if is_dry(beam_options):
        unasked = ResolvedWeights(args.backbone_weights, "")
        job = FeaturizeJob(args.backbone, unasked, args.batch_size, args.view, options.reading(args))
        return dry_run(job, args.output, beam_options)
    _refuse_sources(args)
    output = options.output_of(args, [args.images] if args.images else [])
    annotated = None if args.captions else _annotated(args.annotations, flags.storage_options)
    try:
        weights = resolve_weights(args.backbone_weights, BACKBONES[args.backbone], flags.storage_options)
    except WeightsError as error:
        raise RefusedError(str(error)) from error
    if annotated:
        options.refuse_web([args.images], args)
        corpus = _corpus_of(annotated, args.images, flags)
    else:
        listing = taught_images(args.captions, flags.storage_options, args.alternatives, args.min_confidence)
        corpus = distinct(listing, flags.limit, "--captions", "caption the images anew, each under one id")
        options.refuse_web((one.uri for one in corpus.references), args)
    choice = choose_for(output, args.engine, args.precision, False, lambda choice: _fingerprint(args, weights, choice))
    fingerprint = _fingerprint(args, weights, choice)
    if not is_resumed(output, fingerprint):
        if annotated:
            refuse_other_folder(annotated.images, args.images, flags.storage_options)
        _try_weights(args.backbone, weights)
    return launch(
        Request(
            job=FeaturizeJob(args.backbone, weights, args.batch_size, args.view, options.reading(args), choice),
            corpus=corpus,
            output=output,
            fingerprint=fingerprint,
            details={
                "backbone": args.backbone,
                "weights": weights.source,
                "weights_digest": weights.digest,
                **choice._asdict(),
            },
            flags=flags,
            options=beam_options,
        )
    )


def _refuse_sources(args: argparse.Namespace) -> None:
    """Refuses a command that names no captions, or two kinds of them.

    Raises:
        RefusedError: then.
    """
    if bool(args.annotations) == bool(args.captions):
        raise RefusedError("featurize needs either --annotations JSON with --images DIR, or --captions OUTPUT")
    if bool(args.annotations) != bool(args.images):
        raise RefusedError("--images is the folder of the images of --annotations: give both, or --captions alone")


def _annotated(path: str, storage_options: dict[str, Any]) -> CocoCorpus:
    """The images that a COCO file names."""
    try:
        found = parse_coco(read_uri(path, storage_options))
    except OSError as error:
        raise RefusedError(f"--annotations {path} cannot be read: {error}") from error
    except CocoError as error:
        raise RefusedError(f"--annotations {path}: {error}") from error
    if found.defects:
        told = f"beamscribe featurize: {path} has defects, which are left out:\n{describe(found.defects)}"
        print(printable(told, lines=True))
    return found


def _corpus_of(annotated: CocoCorpus, images: str, flags: jobs.JobFlags) -> Corpus:
    """The annotated images of a folder."""
    listing: Iterator[WorkItem | Skipped] = chain(
        annotated_images(annotated.images, images, flags.storage_options),
        (Skipped(reason, count) for reason, count in left_out(annotated.defects).items()),
    )
    found = distinct(listing, flags.limit)
    repeated = repeated_images(annotated.defects)
    return found._replace(repeated=found.repeated + repeated, listed=found.listed + repeated)


def _fingerprint(args: argparse.Namespace, weights: ResolvedWeights, choice: Choice) -> Fingerprint:
    # Outputs from before there was another engine do not name it, and go on.
    engine = {"engine": choice.engine} if choice.engine != TENSORFLOW else {}
    return Fingerprint(
        {
            "decode_policy": POLICY_VERSION,
            "pillow": PILLOW_VERSION,
            "backbone": args.backbone,
            "backbone_weights": weights.digest,
            "view": args.view,
            "precision": choice.precision,
            **engine,
        }
    )


def _try_weights(backbone: str, weights: ResolvedWeights) -> None:
    from beamscribe.model.backbone.network import build_backbone

    try:
        build_backbone(BACKBONES[backbone], weights)
    except WeightsError as error:
        raise RefusedError(str(error)) from error
