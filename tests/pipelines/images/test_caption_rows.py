"""What a model gives, and what stored features hold, becomes rows; nothing of one image ends those of another."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from beamscribe.model.bundle import Bundle
from beamscribe.model.captioner_interface import Outcome, Written
from beamscribe.model.captioning import CaptionWriter, DecodingOptions
from beamscribe.model.examples import encode_file
from beamscribe.model.images import DecodedImage
from beamscribe.pipelines.caption import CaptionJob
from beamscribe.pipelines.captioners.bundle import BundleSource
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.featurize import example_of
from beamscribe.pipelines.images.caption_rows import caption_rows, facts_of
from beamscribe.pipelines.images.inference import NO_CAPTION, NOT_FINITE
from beamscribe.pipelines.images.reading import LoadedImage, Reading
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.rows import CAPTIONS, read_failures
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import START, run_of

pytestmark = pytest.mark.slow

GRID = (7, 7, 1280)


def loaded(name: str) -> LoadedImage:
    return LoadedImage(PendingItem(WorkItem(name, name)), name, DecodedImage(np.zeros((1, 1, 3), np.uint8), 4, 3, ()))


def record(name: str, grid: np.ndarray, **changes: object) -> FeatureExample:
    item = loaded(name)
    made = example_of(item, np.zeros(GRID, np.float16), Run(Storage("memory://x"), CAPTIONS, "f", START))
    assert isinstance(made, FeatureExample)
    return made._replace(features=grid.astype("<f2").tobytes(), shape=grid.shape, **changes)  # type: ignore[arg-type]


def test_an_image_without_a_caption_has_failed(memory: Storage) -> None:
    answers: Sequence[Outcome] = [Written((Alternative("A dog.", -1.0),)), Written(()), ValueError("no")]
    items = [(item.todo, facts_of(item)) for item in map(loaded, "abc")]
    first, second, third = caption_rows(items, answers, run_of(memory))
    assert isinstance(first, CaptionRow)
    assert first.caption == "A dog."
    assert isinstance(second, FailureRow)
    assert (second.id, second.stage, second.error_type, second.message) == ("b", "infer", "NoCaption", NO_CAPTION)
    assert isinstance(third, FailureRow)
    assert third.error_type == "ValueError"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_features_beyond_float16_are_no_record(memory: Storage, value: float) -> None:
    grid = np.zeros((2, 2, 3), np.float16)
    grid[1, 0, 2] = value
    row = example_of(loaded("a"), grid, run_of(memory))
    assert isinstance(row, FailureRow)
    assert (row.stage, row.error_type, row.message) == ("infer", "NonFinite", NOT_FINITE)


def test_one_image_that_is_not_finite_leaves_the_others_as_they_are(untrained_bundle: Bundle) -> None:
    writer = CaptionWriter(untrained_bundle, DecodingOptions(2, 6))
    features = np.random.default_rng(0).random((3, *GRID)).astype(np.float16)
    expected = writer.caption_features(features)
    features[1, 3, 3, 5] = math.inf
    found = writer.caption_features(features)
    assert found[1] == ()
    assert [found[0], found[2]] == [expected[0], expected[2]]


def test_every_stored_record_is_a_row_or_a_failure_row(memory: Storage, untrained_bundle: Bundle) -> None:
    good = np.random.default_rng(1).random(GRID).astype(np.float16)
    bad = good.copy()
    bad[0, 0, 0] = math.inf
    records = {
        "good": record("good", good),
        "infinite": record("infinite", bad),
        "other shape": record("other shape", good[:5]),
        "also good": record("also good", good),
        # Nobody wrote such a record: what follows it in the file is not trusted.
        "negative shape": record("negative shape", good)._replace(shape=(-7, -7, 1280)),
        "wide": record("wide", good, width=2**40),
    }
    memory.write("features/a.tfrecord.gz", encode_file(records.values()))
    uri = memory.uri("features/a.tfrecord.gz")
    names = [*records, "gone"]
    todo = tuple(PendingItem(WorkItem(name, f"{uri}::{name}", container=uri)) for name in names)
    job = CaptionJob(BundleSource(untrained_bundle.path, 2, 6, 4, from_pixels=False), Reading({}))
    run = Run(memory, CAPTIONS, "0" * 16, START)
    receipt = commit_shard(Shard("a", todo), job.open(run), run)
    assert receipt.rows is not None
    assert receipt.failures is not None
    assert sorted(receipt.rows.ids) == ["also good", "good"]
    failed = {row.id: row.error_type for row in read_failures(memory.read(receipt.failures.name), "")}
    assert failed == {
        **dict.fromkeys(("infinite", "other shape"), "UnfitRecord"),
        **dict.fromkeys(("negative shape", "wide", "gone"), "DamagedRecordError"),
    }
