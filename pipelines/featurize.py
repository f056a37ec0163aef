"""`beamscribe featurize`: COCO captions and photographs to TFRecords of precomputed backbone features."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.backbone.spec import BACKBONES, IMAGENET, ResolvedWeights, WeightsError, backbone_name, resolve_weights
from model.images import POLICY_VERSION
from model.storage import Storage, read_uri
from pipelines import options
from pipelines.commit import Process, Receipt, Run
from pipelines.corpus import annotated_images, distinct
from pipelines.inference import INFER, Inference
from pipelines.launch import Request, is_resumed, launch
from pipelines.loading import load_batches
from pipelines.reading import LoadedImage, Reading, failure
from pipelines.rows import RowKey
from pipelines.shards import Shard
from schemas import feature_example
from schemas.coco import CocoError, describe, parse_coco
from schemas.command import FlagParser, RefusedError
from schemas.failure_row import FailureRow
from schemas.feature_example import FeatureExample
from schemas.fingerprint import Fingerprint

BATCH_SIZE = 32


@dataclass(frozen=True)
class FeatureRecords:
    """Feature examples as GZIP TFRecord files."""

    folder: str = feature_example.FOLDER
    suffix: str = ".tfrecord.gz"

    def encode(self, rows: Iterable[FeatureExample]) -> bytes:
        """The examples as the bytes of one file."""
        from model.examples import encode_file  # TensorFlow is loaded only where there is work to do.

        return encode_file(rows)

    def read_keys(self, data: bytes, name: str) -> list[RowKey]:
        """Ids and fingerprints in a file."""
        from model.examples import decode_file

        return [RowKey(example.id, example.fingerprint) for example in decode_file(data, name)]


@dataclass(frozen=True)
class FeaturizeJob:
    """Pixels to features.

    Attributes:
        backbone: name of the backbone.
        weights: resolved by the launcher.
        batch_size: images a model call takes.
        mirror: whether left and right change places first.
        reading: how to read images.
    """

    backbone: str
    weights: ResolvedWeights
    batch_size: int
    mirror: bool
    reading: Reading
    name: str = "featurize"
    format: FeatureRecords = dataclasses.field(default_factory=FeatureRecords)

    def open(self, run: Run) -> Process:
        """Loads the backbone."""
        from model.backbone.engine import Backbone

        spec = BACKBONES[self.backbone]
        backbone = Backbone(spec, self.weights)

        def see(pixels: np.ndarray) -> np.ndarray:
            return backbone(pixels[:, :, ::-1] if self.mirror else pixels)

        inference: Inference[np.ndarray] = Inference(see, self.batch_size)

        def process(shard: Shard) -> Iterator[FeatureExample | FailureRow]:
            for images, failures in load_batches(shard, spec, self.reading, run, self.batch_size):
                yield from failures
                yield from featurize(images, inference, run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """None."""
        return []

    def tidy(self, output: Storage) -> None:
        """Everything is in the rows."""


def featurize(
    images: Sequence[LoadedImage], backbone: Inference[np.ndarray], run: Run
) -> Iterator[FeatureExample | FailureRow]:
    """Features of one batch.

    Args:
        images: decoded.
        backbone: uint8 (batch, height, width, 3) to float (batch, rows, columns, channels).
        run: for fingerprint and start.

    Yields:
        One example an image, features rounded to float16; a failure row where the backbone cannot take it.
    """
    for item, grid in zip(images, backbone([item.image.pixels for item in images]), strict=True):
        if isinstance(grid, Exception):
            yield failure(item.todo, INFER, type(grid).__name__, str(grid), run.started)
            continue
        reference = item.todo.reference
        rows, columns, channels = grid.shape
        yield FeatureExample(
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


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe featurize",
        description="COCO captions and photographs to TFRecords of precomputed backbone features.",
        epilog=options.BEAM_EPILOG,
    )
    flags.add_argument("--annotations", required=True, help="COCO caption JSON (2014 or 2017); test files too")
    flags.add_argument("--images", required=True, help="folder of the images that the annotations name")
    flags.add_argument("--output", required=True, help="folder or URI for features/, failures/ and _beamscribe/")
    flags.add_argument(
        "--backbone",
        type=backbone_name,
        default="inception_v3",
        metavar="NAME",
        help="inception_v3, efficientnet_lite2 or efficientnet_lite2_levels (need no network), or any name of "
        "keras.applications [inception_v3]",
    )
    flags.add_argument(
        "--backbone-weights",
        default=IMAGENET,
        metavar="imagenet|FILE|random",
        help="imagenet: Keras downloads them, efficientnet_lite2 takes those of the embedded bundle; FILE: weights "
        "without top, of keras.applications or an .npz of efficientnet_lite2; random: for tests",
    )
    flags.add_argument("--mirror", action="store_true", help="features of the mirrored images, to train on both")
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
    try:
        corpus = parse_coco(read_uri(ours.annotations, flags.storage_options))
    except OSError as error:
        raise RefusedError(f"--annotations {ours.annotations} cannot be read: {error}") from error
    except CocoError as error:
        raise RefusedError(f"--annotations {ours.annotations}: {error}") from error
    if corpus.defects:
        print(f"beamscribe featurize: {ours.annotations} has defects, which are left out:\n{describe(corpus.defects)}")
    try:
        weights = resolve_weights(ours.backbone_weights, BACKBONES[ours.backbone])
    except WeightsError as error:
        raise RefusedError(str(error)) from error
    options.refuse_web([ours.images], ours)
    references = distinct(annotated_images(corpus.images, ours.images, flags.storage_options), flags.limit)
    output = Storage(ours.output, flags.storage_options)
    fingerprint = Fingerprint(
        {
            "decode_policy": POLICY_VERSION,
            "backbone": ours.backbone,
            "backbone_weights": weights.digest,
            "mirror": ours.mirror,
            "precision": "float32",
        }
    )
    if not is_resumed(output, fingerprint):
        _try_weights(ours.backbone, weights)
    return launch(
        Request(
            job=FeaturizeJob(ours.backbone, weights, ours.batch_size, ours.mirror, options.reading(ours)),
            corpus=references,
            output=output,
            fingerprint=fingerprint,
            details={"backbone": ours.backbone, "weights": weights.source, "weights_digest": weights.digest},
            flags=flags,
            options=beam_options,
        )
    )


def _try_weights(backbone: str, weights: ResolvedWeights) -> None:
    from model.backbone.engine import build_backbone

    try:
        build_backbone(BACKBONES[backbone], weights)
    except WeightsError as error:
        raise RefusedError(str(error)) from error
