"""`beamscribe caption`: photographs, or features of them, to captions in Parquet."""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.backbone.choice import INT8, Choice
from model.bundle import Bundle, BundleError, copy_bundle, open_bundle
from model.images import PILLOW_VERSION, POLICY_VERSION
from model.pretrained import NoBundleError, default_bundle
from model.storage import Storage
from model.versions import DETOKENIZER_VERSION, SEARCH_VERSION
from pipelines import options
from pipelines.choosing import choose_for
from pipelines.commits.commit import Process, Receipt, Run
from pipelines.commits.manifest_file import ids_to_record, is_resumed
from pipelines.commits.rows import ParquetRows
from pipelines.commits.shards import Shard, Todo
from pipelines.corpora.corpus import Corpus
from pipelines.corpora.features import list_features, read_until_damage
from pipelines.corpora.hashing import grouped_by_content
from pipelines.corpora.listing import is_plain, list_images
from pipelines.corpora.manifests import Columns, read_manifests
from pipelines.corpora.queries import strip_queries
from pipelines.corpora.reference import Reference
from pipelines.dry_run import dry_run
from pipelines.flags import jobs
from pipelines.flags.caption import parser
from pipelines.images.batches import Batches
from pipelines.images.caption_rows import Captions, ImageFacts, caption_rows, facts_of, grid_of
from pipelines.images.inference import Inference
from pipelines.images.loading import load_shard
from pipelines.images.once import Once, Remembered
from pipelines.images.quality import ALARM_PERCENT, sameness
from pipelines.images.reading import READ, LoadedImage, Reading, failure
from pipelines.images.stages import Spent
from pipelines.launch import Request, launch
from pipelines.runners import is_dry
from pipelines.running import share_cores
from schemas import caption_row, manifest
from schemas.caption_row import CaptionRow
from schemas.command import RefusedError
from schemas.failure_row import FailureRow
from schemas.fingerprint import Fingerprint
from schemas.matching import ANNOTATIONS, IDS, MANIFEST, URIS

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

    def carried(self, output: Storage) -> "CaptionJob":
        """With a copy of a local bundle."""
        if "://" in self.bundle:
            return self
        return dataclasses.replace(self, bundle=copy_bundle(open_bundle(self.bundle), output, BUNDLES))

    def open(self, run: Run) -> Process:
        """Loads the bundle."""
        from model.captioning import CaptionWriter, DecodingOptions  # TensorFlow, only where there is work to do.

        bundle = open_bundle(self.bundle, self.reading.storage_options)
        writer = CaptionWriter(bundle, DecodingOptions(self.beam_size, self.max_length), self.choice)
        from_pixels = Inference(writer.caption_pixels, self.batch_size)
        from_features = Inference(writer.caption_features, self.batch_size)

        def see(images: Sequence[LoadedImage]) -> Iterator[Captions | Exception]:
            return from_pixels([item.image.pixels for item in images])

        if self.from_pixels:
            from_pixels.warm_up((*bundle.backbone.input_size, 3), np.uint8)
        caption_once = Once(Batches(see, self.batch_size), Remembered[Captions]())

        def process(shard: Shard) -> Iterator[CaptionRow | FailureRow | Spent]:
            if _stored(shard.todo[0].reference):
                yield from self._process_features(shard.todo, from_features, bundle.backbone.grid, run)
                return
            for outcome in caption_once(load_shard(shard, bundle.backbone, self.reading, run, self.batch_size)):
                if isinstance(outcome, FailureRow | Spent):
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
        self, todo: Sequence[Todo], captioner: Inference[Captions], grid: tuple[int, int, int], run: Run
    ) -> Iterator[CaptionRow | FailureRow]:
        """Captions the records of one file; what cannot be taken, or is not there any more, is a failure row."""
        wanted = {item.reference.id: item for item in todo}
        container = todo[0].reference.container
        damage: list[OSError | ValueError] = []
        examples = read_until_damage(container, self.reading.storage_options, damage)
        found = ((item, example) for example in examples if (item := wanted.pop(example.id, None)))
        while some := list(itertools.islice(found, self.batch_size)):
            batch: list[tuple[Todo, ImageFacts]] = []
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


def _stored(reference: Reference) -> bool:
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
    ours, beam_options = options.parse(parser(), argv)
    share_cores(beam_options)
    flags = jobs.job_flags(ours)
    if is_dry(beam_options):
        return dry_run(_unasked_job(ours, flags), ours.output, beam_options)
    output = options.output_of(ours, filter(is_plain, ours.images or ()))
    model, bundle = _checked_bundle(ours.model, ours.max_length, flags.storage_options)
    choice = choose_for(
        output, ours.engine, ours.precision, bundle.is_quantized, lambda choice: _fingerprint(ours, bundle, choice)
    )
    fingerprint = _fingerprint(ours, bundle, choice)
    options.refuse_web(ours.images or (), ours)
    corpus = _corpus(ours, bundle, flags)
    options.refuse_web((reference.uri for reference in corpus.references if not _stored(reference)), ours)
    if ours.strip_query:
        corpus = strip_queries(corpus)
    if ours.deduplicate:
        corpus = grouped_by_content(corpus, options.reading(ours))
    if not is_resumed(output, fingerprint):
        _try_bundle(bundle, choice, with_backbone=not ours.features)
    return launch(
        Request(
            job=CaptionJob(
                model,
                ours.beam_size,
                ours.max_length,
                ours.batch_size,
                options.reading(ours),
                choice,
                not ours.features,
                ours.alarm_share,
            ),
            corpus=corpus,
            output=output,
            fingerprint=fingerprint,
            details={
                "bundle": model,
                "backbone": bundle.backbone.name,
                IDS: ids_to_record(output, _ids_of(ours)),
                **choice._asdict(),
            },
            flags=flags,
            options=beam_options,
            strict=ours.strict,
        )
    )


def _unasked_job(ours: argparse.Namespace, flags: jobs.JobFlags) -> CaptionJob:
    """The job as far as it is known without asking the network; a local bundle is looked at."""
    model = ours.model
    if model is None or "://" not in model:
        model, _ = _checked_bundle(model, ours.max_length, flags.storage_options)
    return CaptionJob(
        model, ours.beam_size, ours.max_length, ours.batch_size, options.reading(ours), from_pixels=not ours.features
    )


def _ids_of(ours: argparse.Namespace) -> str:
    """Where the ids of this run's rows come from."""
    return ANNOTATIONS if ours.features else URIS if ours.images else MANIFEST


def _fingerprint(ours: argparse.Namespace, bundle: Bundle, choice: Choice) -> Fingerprint:
    int8 = {"quantized_backbone": bundle.quantized_digest} if choice.precision == INT8 else {}
    # Features were decoded by whichever Pillow made them.
    pillow = {} if ours.features else {"pillow": PILLOW_VERSION}
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
            "beam_size": ours.beam_size,
            "max_length": ours.max_length,
            "engine": choice.engine,
            "precision": choice.precision,
            **int8,
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


def _corpus(ours: argparse.Namespace, bundle: Bundle, flags: jobs.JobFlags) -> Corpus:
    if ours.images:
        return list_images(ours.images, flags.storage_options, flags.limit, ours.allow_private_addresses)
    if ours.manifest:
        columns = Columns(ours.uri_column, ours.id_column)
        return read_manifests(ours.manifest, columns, flags.storage_options, flags.limit)
    weights = bundle.backbone_weights.digest
    return list_features(ours.features, bundle.backbone.name, weights, flags.storage_options, flags.limit)


def _try_bundle(bundle: Bundle, choice: Choice, with_backbone: bool) -> None:
    """Loads the models once here, so that weights that do not fit are refused before anything is launched."""
    from model.backbone.network import build_backbone
    from model.backbone.spec import WeightsError
    from model.captioning import load_captioner

    try:
        load_captioner(bundle)
        if with_backbone and choice.precision != INT8:
            build_backbone(bundle.backbone, bundle.backbone_weights)
    except (BundleError, WeightsError) as error:
        raise RefusedError(f"--model: {error}") from error
