"""`beamscribe caption`: photographs, or features of them, to captions in Parquet."""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.choice import INT8, Choice
from beamscribe.model.bundle import Bundle, BundleError, copy_bundle, open_bundle
from beamscribe.model.images import PILLOW_VERSION, POLICY_VERSION
from beamscribe.model.pretrained import NoBundleError, default_bundle
from beamscribe.model.versions import DETOKENIZER_VERSION, SEARCH_VERSION
from beamscribe.pipelines.commits.commit import Receipt
from beamscribe.pipelines.commits.manifest_file import ids_to_record, is_resumed, manifest_of
from beamscribe.pipelines.images.batches import Batches
from beamscribe.pipelines.images.caption_rows import Captions, ImageFacts, caption_rows, facts_of, grid_of
from beamscribe.pipelines.images.dedup_cache import DedupCache, Remembered
from beamscribe.pipelines.images.hashing import grouped_by_content
from beamscribe.pipelines.images.inference import Inference
from beamscribe.pipelines.images.loading import load_shard
from beamscribe.pipelines.images.quality import ALARM_PERCENT, sameness
from beamscribe.pipelines.images.reading import READ, LoadedImage, Reading
from beamscribe.pipelines.images.samples import closing_lines, read_samples
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.choosing import choose_for
from beamscribe.pipelines.runtime.dry_run import dry_run
from beamscribe.pipelines.runtime.flags import jobs
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.runners import is_dry
from beamscribe.pipelines.runtime.running import share_cores
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.features import list_features, read_until_damage
from beamscribe.pipelines.sources.listing import is_plain, list_images
from beamscribe.pipelines.sources.manifests import Columns, read_manifests
from beamscribe.pipelines.sources.queries import strip_queries
from beamscribe.pipelines.sources.retake import BELOW, unsure_images
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.stage_metrics import StageMetrics
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import caption_row, manifest
from beamscribe.schemas.caption_row import CaptionRow
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.matching import ANNOTATIONS, IDS, MANIFEST, URIS, ids_of_output
from beamscribe.schemas.rows import ParquetRows
from beamscribe.storage.storage import Storage

BUNDLES = f"{manifest.FOLDER}/bundles"
CAPTIONS = ParquetRows(caption_row.FOLDER, caption_row.SCHEMA, caption_row.VERSION)


@dataclass(frozen=True)
class CaptionJob:
    """Pixels or features to captions.

    Attributes:
        bundle: path or URI of the bundle, never the model itself; workers elsewhere are given a copy's URI.
        beam_size: captions kept at each step.
        max_length: tokens of a caption at most.
        batch_size: images a model call takes.
        reading: how to read images.
        choice: engine and precision, resolved by the launcher.
        from_pixels: whether there are images to do, or features alone.
        alarm_percent: share of different images that may get the same caption.
    """

    bundle: str
    beam_size: int
    max_length: int
    batch_size: int
    reading: Reading
    choice: Choice = Choice()
    from_pixels: bool = True
    alarm_percent: float = ALARM_PERCENT
    name: str = "caption"
    shards_at_once: int = 2
    format: ParquetRows = dataclasses.field(default_factory=lambda: CAPTIONS)

    def stage_artifacts(self, output: Storage) -> "CaptionJob":
        """With a copy of a local bundle."""
        if "://" in self.bundle:
            return self
        return dataclasses.replace(self, bundle=copy_bundle(open_bundle(self.bundle), output, BUNDLES))

    def open(self, run: Run) -> Process:
        """Loads the bundle."""
        from beamscribe.model.captioning import (  # TensorFlow, only where there is work to do.
            CaptionWriter,
            DecodingOptions,
        )

        bundle = open_bundle(self.bundle, self.reading.storage_options)
        writer = CaptionWriter(bundle, DecodingOptions(self.beam_size, self.max_length), self.choice)
        from_pixels = Inference(writer.caption_pixels, self.batch_size)
        from_features = Inference(writer.caption_features, self.batch_size)

        def see(images: Sequence[LoadedImage]) -> Iterator[Captions | Exception]:
            return from_pixels([item.image.pixels for item in images])

        if self.from_pixels:
            from_pixels.warm_up((*bundle.backbone.input_size, 3), np.uint8)
        caption_once = DedupCache(Batches(see, self.batch_size), Remembered[Captions]())

        def process(shard: Shard) -> Iterator[CaptionRow | FailureRow | StageMetrics]:
            if _stored(shard.todo[0].reference):
                yield from self._process_features(shard.todo, from_features, bundle.backbone.grid, run)
                return
            for outcome in caption_once(load_shard(shard, bundle.backbone, self.reading, run, self.batch_size)):
                if isinstance(outcome, FailureRow | StageMetrics):
                    yield outcome
                    continue
                item, captions = outcome
                yield from caption_rows([(item.todo, facts_of(item))], [captions], run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """Whether one caption is said of too many images."""
        found = sameness(_captions(output, receipts), self.alarm_percent)
        return [found] if found else []

    def tidy(self, output: Storage) -> None:
        """Everything is in the rows."""

    def _process_features(
        self, todo: Sequence[PendingItem], captioner: Inference[Captions], grid: tuple[int, int, int], run: Run
    ) -> Iterator[CaptionRow | FailureRow]:
        """Captions the records of one file; what cannot be taken, or is not there any more, is a failure row."""
        wanted = {item.reference.id: item for item in todo}
        container = todo[0].reference.container
        damage: list[OSError | ValueError] = []
        examples = read_until_damage(container, self.reading.storage_options, damage)
        found = ((item, example) for example in examples if (item := wanted.pop(example.id, None)))
        while some := list(itertools.islice(found, self.batch_size)):
            batch: list[tuple[PendingItem, ImageFacts]] = []
            grids: list[np.ndarray] = []
            for item, example in some:
                try:
                    grids.append(grid_of(example, grid))
                except ValueError as error:
                    yield failure(item, READ, "UnfitRecord", str(error), run.started)
                else:
                    batch.append((item, facts_of(example)))
            yield from caption_rows(batch, captioner(grids), run)
        error_type = type(damage[0]).__name__ if damage else "MissingRecord"
        message = str(damage[0]) if damage else f"{container} has no record of this id any more"
        for item in wanted.values():
            yield failure(item, READ, error_type, message, run.started)


def _stored(reference: WorkItem) -> bool:
    """Whether the features of the image are read, not the image."""
    return bool(reference.container) and reference.member is None


def _captions(output: Storage, receipts: Sequence[Receipt]) -> Iterator[tuple[str, str]]:
    """Digests and captions of all images."""
    names = [receipt.rows.name for receipt in receipts if receipt.rows]
    for name, data in zip(names, output.read_each(names), strict=True):
        table = CAPTIONS.read(data, name, ["sha256", "caption"])
        yield from zip(table["sha256"].to_pylist(), table["caption"].to_pylist(), strict=True)


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
        return dry_run(_unasked_job(args, flags), args.output, beam_options)
    output = options.output_of(args, filter(is_plain, args.images or ()))
    model, bundle = _checked_bundle(args.model, args.max_length, flags.storage_options)
    choice = choose_for(
        output, args.engine, args.precision, bundle.is_quantized, lambda choice: _fingerprint(args, bundle, choice)
    )
    fingerprint = _fingerprint(args, bundle, choice)
    options.refuse_web(args.images or (), args)
    corpus = _corpus(args, bundle, flags)
    options.refuse_web((reference.uri for reference in corpus.references if not _stored(reference)), args)
    if args.strip_query:
        corpus = strip_queries(corpus)
    if args.deduplicate:
        corpus = grouped_by_content(corpus, options.reading(args))
    if not is_resumed(output, fingerprint):
        _try_bundle(bundle, choice, with_backbone=not args.features)
    return launch(
        Request(
            job=CaptionJob(
                model,
                args.beam_size,
                args.max_length,
                args.batch_size,
                options.reading(args),
                choice,
                not args.features,
                args.alarm_share,
            ),
            corpus=corpus,
            output=output,
            fingerprint=fingerprint,
            details={
                "bundle": model,
                "backbone": bundle.backbone.name,
                IDS: ids_to_record(output, _ids_of(args)),
                **choice._asdict(),
            },
            flags=flags,
            options=beam_options,
            strict=args.strict,
            closing=lambda: _closing(output, args.output),
        )
    )


def _closing(output: Storage, typed: str) -> list[str]:
    """Some of the captions, and what to do next; nothing where they cannot be read, since the work is done."""
    try:
        return closing_lines(read_samples(output, CAPTIONS), typed)
    except (OSError, ValueError):
        return []


def _unasked_job(args: argparse.Namespace, flags: jobs.JobFlags) -> CaptionJob:
    """The job as far as it is known without asking the network; a local bundle is looked at."""
    model = args.model
    if model is None or "://" not in model:
        model, _ = _checked_bundle(model, args.max_length, flags.storage_options)
    return CaptionJob(
        model, args.beam_size, args.max_length, args.batch_size, options.reading(args), from_pixels=not args.features
    )


def _ids_of(args: argparse.Namespace) -> str:
    """Where the ids of this run's rows come from."""
    if args.retake:
        earlier = Storage(args.retake, args.storage_options)
        return ids_of_output(manifest_of(earlier).details, earlier.read)
    return ANNOTATIONS if args.features else URIS if args.images else MANIFEST


def _fingerprint(args: argparse.Namespace, bundle: Bundle, choice: Choice) -> Fingerprint:
    int8 = {"quantized_backbone": bundle.quantized_digest} if choice.precision == INT8 else {}
    confidence = {"confidence": bundle.calibration_digest} if bundle.calibration_digest else {}
    # Features were decoded by whichever Pillow made them.
    pillow = {} if args.features else {"pillow": PILLOW_VERSION}
    return Fingerprint(
        {
            "decode_policy": POLICY_VERSION,
            **pillow,
            "backbone": bundle.backbone.name,
            "backbone_weights": bundle.backbone_weights.digest,
            "captioner_weights": bundle.weights_digest,
            "vocabulary": bundle.vocabulary_digest,
            "search": SEARCH_VERSION,
            "detokenizer": DETOKENIZER_VERSION,
            "beam_size": args.beam_size,
            "max_length": args.max_length,
            "engine": choice.engine,
            "precision": choice.precision,
            **int8,
            **confidence,
        }
    )


def _checked_bundle(path: str | None, max_length: int, storage_options: dict[str, Any]) -> tuple[str, Bundle]:
    """Where the bundle is, and the bundle, whole."""
    try:
        path = path or default_bundle()
        bundle = open_bundle(path, storage_options)
        bundle.check()
        # The start token takes one of the positions that the captioner has.
        sizes = bundle.captioner["config"]
        longest = sizes["max_length"] - 2
        if tuple(sizes["grid"]) != bundle.backbone.grid:
            raise BundleError(f"{path} takes features of {sizes['grid']}, its backbone gives {bundle.backbone.grid}")
    except (BundleError, NoBundleError) as error:
        raise RefusedError(f"--model: {error}") from error
    if bundle.notice:
        print(f"beamscribe caption: {bundle.notice}")
    if max_length > longest:
        raise RefusedError(f"--max-length {max_length} is more than the {longest} tokens that {path} can write")
    return (path.rstrip("/") if "://" in path else bundle.path), bundle


def _corpus(args: argparse.Namespace, bundle: Bundle, flags: jobs.JobFlags) -> Corpus:
    if args.images:
        return list_images(args.images, flags.storage_options, flags.limit, args.allow_private_addresses)
    if args.retake:
        return unsure_images(
            args.retake, BELOW if args.below is None else args.below, flags.storage_options, flags.limit
        )
    if args.manifest:
        columns = Columns(args.uri_column, args.id_column)
        return read_manifests(args.manifest, columns, flags.storage_options, flags.limit)
    weights = bundle.backbone_weights.digest
    return list_features(args.features, bundle.backbone.name, weights, flags.storage_options, flags.limit)


def _try_bundle(bundle: Bundle, choice: Choice, with_backbone: bool) -> None:
    """Loads the models once here, so that weights that do not fit are refused before anything is launched."""
    from beamscribe.model.backbone.network import build_backbone
    from beamscribe.model.backbone.spec import WeightsError
    from beamscribe.model.captioning import load_captioner

    try:
        load_captioner(bundle)
        if with_backbone and choice.precision != INT8:
            build_backbone(bundle.backbone, bundle.backbone_weights)
    except (BundleError, WeightsError) as error:
        raise RefusedError(f"--model: {error}") from error
