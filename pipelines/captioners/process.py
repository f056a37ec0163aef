"""What a caption job does with a shard: images, or stored features of them, through a captioner to rows."""

import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from beamscribe.model.captioner_interface import ImageInput, Outcome
from beamscribe.pipelines.captioners.source import CaptionerSource, ClassSource, KeepsAnswers
from beamscribe.pipelines.images.batches import Batches
from beamscribe.pipelines.images.caption_rows import ImageFacts, caption_rows, facts_of, grid_of
from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.dedup_cache import DedupCache, Remembered
from beamscribe.pipelines.images.loading import load_shard
from beamscribe.pipelines.images.reading import READ, LoadedImage, Reading
from beamscribe.pipelines.images.sample_columns import SampleColumns
from beamscribe.pipelines.sources.features import read_until_damage
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.caption_row import CaptionRow
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.kept_columns import texts_of
from beamscribe.schemas.stage_metrics import StageMetrics


@runtime_checkable
class CaptionsFeatures(Protocol):
    """A captioner that takes features which `beamscribe featurize` has stored.

    Attributes:
        grid: (rows, columns, channels) that it takes.
    """

    grid: tuple[int, int, int]

    def caption_features(self, features: Sequence[np.ndarray]) -> Iterator[Outcome]:
        """Captions of features, float16 (rows, columns, channels) each."""
        ...


@runtime_checkable
class KeyedImages(Protocol):
    """A captioner whose captions depend on more than the pixels."""

    def key(self, image: ImageInput) -> str:
        """Two images with the same key have the same caption."""
        ...


def is_stored(reference: WorkItem) -> bool:
    """Whether the features of the image are read, not the image."""
    return bool(reference.container) and reference.member is None


def image_input(item: LoadedImage) -> ImageInput:
    """A loaded image as captioners take it."""
    reference = item.todo.reference
    fields = {"id": reference.id, "uri": reference.uri, "file_name": reference.uri.rsplit("/", 1)[-1]}
    fields |= texts_of(item.todo.kept)
    return ImageInput(reference.id, item.sha256, item.image.pixels, item.encoded, fields, item.todo.attempts)


class CaptionProcess:
    """A process's captioner, ready for shard after shard.

    Args:
        source: of the captioner.
        reading: how to read images.
        run: of the job.
        columns: what is kept of what stands beside images in archives.
    """

    def __init__(
        self, source: CaptionerSource, reading: Reading, run: Run, columns: SampleColumns | None = None
    ) -> None:
        self._columns = columns
        self._captioner = captioner = source.open(run)
        self._reading, self._run, self._batch_size = reading, run, source.batch_size

        def see(images: Sequence[LoadedImage]) -> Iterator[Outcome]:
            yield from captioner.caption([image_input(item) for item in images])

        def key(item: LoadedImage) -> str:
            if isinstance(captioner, KeyedImages):
                return captioner.key(image_input(item))
            # A class of a user's own may heed what its source says of an image.
            heeded = texts_of(item.todo.kept) if isinstance(source, ClassSource) else {}
            return f"{item.sha256} {json.dumps(heeded)}" if heeded else item.sha256

        batches: Batches[Outcome] = Batches(see, source.batch_size, source.calls_at_once)
        self._caption_once: DedupCache[Outcome] = DedupCache(
            batches, Remembered[Outcome](), key, patient=isinstance(captioner, KeepsAnswers)
        )

    def __call__(self, shard: Shard) -> Iterator[CaptionRow | FailureRow | StageMetrics]:
        """Rows and failure rows of a shard."""
        if not shard.passing and is_stored(shard.todo[0].reference):
            yield from self._process_features(shard.todo)
            return
        if self._columns and not shard.passing:
            shard = shard._replace(todo=self._columns.filled(shard.todo, self._reading, self._run))
        if isinstance(self._captioner, KeepsAnswers):
            self._captioner.begin(shard)
        # Two batches, or an image for each call, are read ahead.
        ahead = max(self._batch_size, self._caption_once.batches.calls_at_once)
        images = load_shard(shard, self._captioner.wants, self._reading, self._run, ahead)
        for outcome in self._caption_once(images):
            if isinstance(outcome, FailureRow | StageMetrics):
                yield outcome
                continue
            item, captions = outcome
            for row in caption_rows([(item.todo, facts_of(item))], [captions], self._run):
                yield row if isinstance(row, FailureRow) else row._replace(file=item.file)

    def container_shards(self, container: Container) -> Generator[Shard, None, None]:
        """As `GoesThroughContainers`."""
        return container_shards(container, self._reading, self._run, self._columns)

    def committed(self, shard: Shard) -> None:
        """The rows of a shard are there for good."""
        if isinstance(self._captioner, KeepsAnswers):
            self._captioner.committed(shard)

    def _process_features(self, todo: Sequence[PendingItem]) -> Iterator[CaptionRow | FailureRow]:
        """Captions the records of one file; what cannot be taken, or is not there any more, is a failure row."""
        captioner, run = self._captioner, self._run
        if not isinstance(captioner, CaptionsFeatures):
            raise TypeError(f"{type(captioner).__name__} takes no stored features")
        wanted = {item.reference.id: item for item in todo}
        container = todo[0].reference.container
        damage: list[OSError | ValueError] = []
        examples = read_until_damage(container, self._reading.storage_options, damage)
        found = ((item, example) for example in examples if (item := wanted.pop(example.id, None)))
        while some := list(itertools.islice(found, self._batch_size)):
            batch: list[tuple[PendingItem, ImageFacts]] = []
            grids: list[np.ndarray] = []
            for item, example in some:
                try:
                    grids.append(grid_of(example, captioner.grid))
                except ValueError as error:
                    yield failure(item, READ, "UnfitRecord", str(error), run.started)
                else:
                    batch.append((item, facts_of(example)))
            yield from caption_rows(batch, captioner.caption_features(grids), run)
        error_type = type(damage[0]).__name__ if damage else "MissingRecord"
        message = str(damage[0]) if damage else f"{container} has no record of this id any more"
        for item in wanted.values():
            yield failure(item, READ, error_type, message, run.started)
