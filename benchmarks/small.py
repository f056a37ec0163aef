"""What the skeleton costs an image: tiny photographs, and a model that does nothing."""

import dataclasses
import datetime
import io
import os
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.model.captioner_interface import Written
from beamscribe.pipelines.images.batches import Batches
from beamscribe.pipelines.images.caption_rows import caption_rows, facts_of
from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.dedup_cache import DedupCache, Remembered
from beamscribe.pipelines.images.inference import Inference
from beamscribe.pipelines.images.loading import load_images, load_shard
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.pipelines.runtime.flags.jobs import job_flags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.schemas.caption_row import Alternative
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.rows import CAPTIONS, ParquetRows
from beamscribe.schemas.stage_metrics import StageMetrics
from beamscribe.storage.storage import Storage
from benchmarks.jobs import Measured

SPEC = BackboneSpec("null", (32, 32), (1, 1, 1))


class NullProcess:
    """Every image of a shard gets the same words.

    Args:
        reading: how to read images.
        spec: what is made of them.
        run: of the job.
    """

    def __init__(self, reading: Reading, spec: BackboneSpec, run: Run) -> None:
        self._reading, self._spec, self._run = reading, spec, run
        inference = Inference(lambda pixels: [Written((Alternative("Nothing.", 0.0),))] * len(pixels), 32)
        self._once = DedupCache(
            Batches(lambda items: inference([item.image.pixels for item in items]), 32), Remembered[Any]()
        )

    def __call__(self, shard: Shard) -> Iterator[Any]:
        for outcome in self._once(load_shard(shard, self._spec, self._reading, self._run, 32)):
            if isinstance(outcome, FailureRow | StageMetrics):
                yield outcome
            else:
                item, captions = outcome
                yield from caption_rows([(item.todo, facts_of(item))], [captions], self._run)

    def container_shards(self, container: Container) -> Generator[Shard, None, None]:
        """As `GoesThroughContainers`."""
        return container_shards(container, self._reading, self._run)


@dataclass(frozen=True)
class NullJob:
    """As `beamscribe.pipelines.caption.CaptionJob`, but every image gets the same words.

    Attributes:
        reading: how to read images.
        spec: what is made of them.
    """

    reading: Reading = Reading({})
    spec: BackboneSpec = SPEC
    name: str = "caption"
    shards_at_once: int = 2
    format: ParquetRows = dataclasses.field(default_factory=lambda: CAPTIONS)

    def stage_artifacts(self, output: Storage) -> "NullJob":
        """The same: there is nothing that workers lack."""
        return self

    def open(self, run: Run) -> Process:
        return NullProcess(self.reading, self.spec, run)

    def warnings(self, output: Storage, receipts: Any) -> list[str]:
        return []

    def tidy(self, output: Storage) -> None:
        pass


def measure(folder: str, count: int) -> Measured:
    """Milliseconds an image beyond reading and decoding, as `core_msec`."""
    images = Path(folder, "images")
    if not images.exists():
        images.mkdir(parents=True)
        random = np.random.default_rng(0)
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
            (images / f"{number:05}.jpg").write_bytes(file.getvalue())
    corpus = list_images([str(images)], {}, None)
    todo = [PendingItem(reference) for reference in corpus.references]
    begun = time.monotonic()
    for _ in load_images(todo, SPEC, Reading({}), datetime.datetime.now(datetime.UTC), ahead=64):
        pass
    alone = time.monotonic() - begun
    output = os.path.join(folder, "output")
    shutil.rmtree(output, ignore_errors=True)
    argv = ["--images", str(images), "--output", output, "--model", "null"]
    args, beam_options = options.parse(parser(), argv)
    begun = time.monotonic()
    code = launch(
        Request(
            job=NullJob(),
            corpus=corpus,
            output=Storage(output, {}),
            fingerprint=Fingerprint({"model": "null"}),
            details={},
            flags=job_flags(args),
            options=beam_options,
        )
    )
    seconds = time.monotonic() - begun
    if code:
        raise RuntimeError(f"the job ended with {code}")
    beyond = 1000 * (seconds - alone) / count
    return Measured("tiny images, null model: msec beyond reading and decoding", count / seconds, beyond, 0, seconds, 0)
