"""`beamscribe caption`: photographs, or features of them, to captions in Parquet."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.bundle import Bundle, BundleError, open_bundle
from model.images import POLICY_VERSION
from model.pretrained import NoBundleError, default_bundle
from model.storage import Storage
from pipelines import options
from pipelines.commit import Process, Receipt, Run
from pipelines.corpus import Corpus, list_images, read_manifest
from pipelines.features import list_features, read_until_damage
from pipelines.inference import INFER, Inference
from pipelines.launch import Request, is_resumed, launch
from pipelines.loading import load_batches
from pipelines.quality import ALARM_PERCENT, ALARM_ROWS, flags_of, sameness
from pipelines.reading import READ, LoadedImage, Reading, failure
from pipelines.rows import ParquetRows
from pipelines.shards import Shard, Todo
from schemas import caption_row
from schemas.caption_row import Alternative, CaptionRow
from schemas.command import FlagParser, RefusedError, positive
from schemas.failure_row import FailureRow
from schemas.feature_example import DTYPE, FeatureExample
from schemas.fingerprint import Fingerprint

BATCH_SIZE = 32
Captions = tuple[Alternative, ...]
"""Of one image, best first."""

CAPTIONS = ParquetRows(caption_row.FOLDER, caption_row.SCHEMA, caption_row.VERSION)


@dataclass(frozen=True)
class CaptionJob:
    """Pixels or features to captions.

    Attributes:
        bundle: path or URI of the bundle, never the model itself.
        beam_size: captions kept at each step.
        max_length: tokens of a caption at most.
        batch_size: images a model call takes.
        reading: how to read images.
        alarm_percent: share of the images that may get the same caption.
    """

    bundle: str
    beam_size: int
    max_length: int
    batch_size: int
    reading: Reading
    alarm_percent: float = ALARM_PERCENT
    name: str = "caption"
    format: ParquetRows = dataclasses.field(default_factory=lambda: CAPTIONS)

    def open(self, run: Run) -> Process:
        """Loads the bundle."""
        from model.captioning import CaptionWriter, DecodingOptions  # TensorFlow, only where there is work to do.

        bundle = open_bundle(self.bundle)
        writer = CaptionWriter(bundle, DecodingOptions(self.beam_size, self.max_length))
        from_pixels = Inference(writer.caption_pixels, self.batch_size)
        from_features = Inference(writer.caption_features, self.batch_size)

        def process(shard: Shard) -> Iterator[CaptionRow | FailureRow]:
            if shard.todo[0].reference.container:
                yield from self._process_features(shard.todo, from_features, run)
                return
            for images, failures in load_batches(shard, bundle.backbone, self.reading, run, self.batch_size):
                yield from failures
                captions = from_pixels([item.image.pixels for item in images])
                yield from caption_rows([(item.todo, facts_of(item)) for item in images], captions, run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """Whether one caption is said of too many images."""
        found = sameness(_captions(output, receipts), self.alarm_percent)
        return [found] if found else []

    def tidy(self, output: Storage) -> None:
        """Everything is in the rows."""

    def _process_features(
        self, todo: Sequence[Todo], captioner: Inference[Captions], run: Run
    ) -> Iterator[CaptionRow | FailureRow]:
        """Captions the records of one file; records that it does not give back are failure rows."""
        wanted = {item.reference.id: item for item in todo}
        container = todo[0].reference.container
        damage: list[OSError | ValueError] = []
        examples = read_until_damage(container, self.reading.storage_options, damage)
        found = ((item, example) for example in examples if (item := wanted.pop(example.id, None)))
        while batch := list(itertools.islice(found, self.batch_size)):
            captions = captioner([grid_of(example) for _, example in batch])
            yield from caption_rows([(item, facts_of(example)) for item, example in batch], captions, run)
        error_type = type(damage[0]).__name__ if damage else "MissingRecord"
        message = str(damage[0]) if damage else f"{container} has no record of this id any more"
        for item in wanted.values():
            yield failure(item, READ, error_type, message, run.started)


def _captions(output: Storage, receipts: Sequence[Receipt]) -> Iterator[str]:
    for receipt in receipts:
        if receipt.rows:
            name = receipt.rows.name
            yield from CAPTIONS.read(output.read(name), name, ["caption"])["caption"].to_pylist()


class ImageFacts(NamedTuple):
    """What a row says of an image beside its caption; the fields are those of `CaptionRow`."""

    image_uri: str
    id: str
    sha256: str
    width: int
    height: int
    repairs: tuple[str, ...]


def facts_of(item: LoadedImage | FeatureExample) -> ImageFacts:
    """The facts of an image that was decoded just now, or of one whose features were stored."""
    if isinstance(item, FeatureExample):
        return ImageFacts(item.uri, item.id, item.sha256, item.width, item.height, item.repairs)
    reference, image = item.todo.reference, item.image
    return ImageFacts(reference.uri, reference.id, item.sha256, image.width, image.height, image.repairs)


def grid_of(example: FeatureExample) -> np.ndarray:
    """Stored features, float16 (rows, columns, channels)."""
    return np.frombuffer(example.features, DTYPE).reshape(example.shape)


def caption_rows(
    items: Sequence[tuple[Todo, ImageFacts]], captions: Iterable[Captions | Exception], run: Run
) -> Iterator[CaptionRow | FailureRow]:
    """Rows of one batch; each image's captions come best first, and the best is chosen."""
    for (todo, facts), alternatives in zip(items, captions, strict=True):
        if isinstance(alternatives, Exception):
            yield failure(todo, INFER, type(alternatives).__name__, str(alternatives), run.started)
            continue
        yield CaptionRow(
            **facts._asdict(),
            caption=alternatives[0].caption,
            flags=flags_of(alternatives[0].caption),
            score=alternatives[0].score,
            alternatives=alternatives,
            fingerprint=run.fingerprint,
            run_started=run.started,
        )


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe caption",
        description="Photographs, or features of them, to captions in Parquet.",
        epilog=options.BEAM_EPILOG,
    )
    source = flags.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", nargs="+", metavar="GLOB_OR_DIR", help="folders (walked), globs or files")
    source.add_argument("--manifest", metavar="FILE", help="text file, one image URI a line")
    source.add_argument("--features", nargs="+", metavar="OUTPUT", help="outputs of beamscribe featurize")
    flags.add_argument(
        "--model",
        metavar="BUNDLE",
        help="folder that beamscribe train wrote [$BEAMSCRIBE_MODEL, else the one in a checkout's pretrained/]",
    )
    flags.add_argument("--output", required=True, help="folder or URI for captions/, failures/ and _beamscribe/")
    flags.add_argument("--beam-size", type=positive, default=3, help="captions kept at each step; 1 is greedy")
    flags.add_argument("--max-length", type=positive, default=24, help="tokens of a caption at most")
    flags.add_argument(
        "--alarm-share",
        type=float,
        default=ALARM_PERCENT,
        metavar="PERCENT",
        help=f"warn when one caption is said of more than this share of {ALARM_ROWS} or more images",
    )
    flags.add_argument("--strict", action="store_true", help="end with exit code 3 where there is such a warning")
    options.add_reading_flags(flags)
    options.add_job_flags(flags, BATCH_SIZE)
    return flags


def run(argv: Sequence[str]) -> int:
    """Parses, builds, runs.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours, beam_options = options.parse(parser(), argv)
    flags = options.job_flags(ours)
    bundle = _checked_bundle(ours.model, ours.max_length)
    output = Storage(ours.output, flags.storage_options)
    fingerprint = Fingerprint(
        {
            "decode_policy": POLICY_VERSION,
            "backbone": bundle.backbone.name,
            "backbone_weights": bundle.backbone_weights.digest,
            "captioner_weights": bundle.weights_digest,
            "vocabulary": bundle.vocabulary_digest,
            "beam_size": ours.beam_size,
            "max_length": ours.max_length,
            "engine": "tensorflow",
            "precision": "float32",
        }
    )
    options.refuse_web(ours.images or (), ours)
    corpus = _corpus(ours.images, ours.manifest, ours.features, bundle, flags)
    options.refuse_web((reference.uri for reference in corpus.references if not reference.container), ours)
    if not is_resumed(output, fingerprint):
        _try_bundle(bundle, with_backbone=not ours.features)
    return launch(
        Request(
            job=CaptionJob(
                bundle.path,
                ours.beam_size,
                ours.max_length,
                ours.batch_size,
                options.reading(ours),
                ours.alarm_share,
            ),
            corpus=corpus,
            output=output,
            fingerprint=fingerprint,
            details={"bundle": bundle.path, "backbone": bundle.backbone.name},
            flags=flags,
            options=beam_options,
            strict=ours.strict,
        )
    )


def _checked_bundle(path: str | None, max_length: int) -> Bundle:
    try:
        path = path or default_bundle()
        bundle = open_bundle(path)
        bundle.check()
    except (BundleError, NoBundleError) as error:
        raise RefusedError(f"--model: {error}") from error
    if bundle.notice:
        print(f"beamscribe caption: {bundle.notice}")
    # The start token takes one of the positions that the captioner has.
    longest = bundle.config["captioner"]["config"]["max_length"] - 2
    if max_length > longest:
        raise RefusedError(f"--max-length {max_length} is more than the {longest} tokens that {path} can write")
    return bundle


def _corpus(
    images: list[str] | None,
    manifest: str | None,
    features: list[str] | None,
    bundle: Bundle,
    flags: options.JobFlags,
) -> Corpus:
    if images:
        return list_images(images, flags.storage_options, flags.limit)
    if manifest:
        return read_manifest(manifest, flags.storage_options, flags.limit)
    weights = bundle.backbone_weights.digest
    return list_features(features or [], bundle.backbone.name, weights, flags.storage_options, flags.limit)


def _try_bundle(bundle: Bundle, with_backbone: bool) -> None:
    """Loads the models once here, so that weights that do not fit are refused before anything is launched."""
    from model.backbone.engine import build_backbone
    from model.backbone.spec import WeightsError
    from model.captioning import load_captioner

    try:
        load_captioner(bundle)
        if with_backbone:
            build_backbone(bundle.backbone, bundle.backbone_weights)
    except (BundleError, WeightsError) as error:
        raise RefusedError(f"--model: {error}") from error
