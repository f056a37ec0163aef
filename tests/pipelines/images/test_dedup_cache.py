import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from beamscribe.model.images import DecodedImage
from beamscribe.pipelines.images.batches import SIDE_BY_SIDE, Batches
from beamscribe.pipelines.images.dedup_cache import PATIENCE_SECONDS, DedupCache, Remembered
from beamscribe.pipelines.images.reading import LoadedImage
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.stage_metrics import StageMetrics, total
from tests.pipelines.fake_job import START


def image(name: str, content: str) -> LoadedImage:
    pixels = np.zeros((1, 1, 3), np.uint8)
    return LoadedImage(PendingItem(WorkItem(name, name)), content, DecodedImage(pixels, 1, 1, ()), 1.0, 2.0)


class Model:
    """The content in capitals; notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def __call__(self, items: list[LoadedImage]) -> list[str | Exception]:
        self.seen.append([item.sha256 for item in items])
        return [ValueError("no") if item.sha256 == "bad" else item.sha256.upper() for item in items]


def collect(
    once: DedupCache, loaded: Iterable[LoadedImage | FailureRow]
) -> tuple[dict[str, str], list[FailureRow], StageMetrics]:
    results, failures, spent = {}, [], []
    for outcome in once(loaded):
        if isinstance(outcome, StageMetrics):
            spent.append(outcome)
        elif isinstance(outcome, FailureRow):
            failures.append(outcome)
        else:
            item, result = outcome
            assert item.todo.reference.id not in results
            results[item.todo.reference.id] = str(result)
    return results, failures, total(spent)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_every_image_gets_what_its_bytes_give_and_equal_ones_are_seen_once(batch_size: int) -> None:
    model = Model()
    contents = ["a", "b", "a", "c", "bad", "a", "d", "b", "e", "bad"]
    loaded = [image(str(n), content) for n, content in enumerate(contents)]
    loaded.insert(3, failure(PendingItem(WorkItem("x", "x")), "read", "E", "m", START))
    results, failures, spent = collect(DedupCache(Batches(model, batch_size), Remembered()), loaded)
    assert results == {str(n): "no" if c == "bad" else c.upper() for n, c in enumerate(contents)}
    assert [row.id for row in failures] == ["x"]
    seen = [content for batch in model.seen for content in batch]
    # What failed is not remembered: a later image with these bytes may be tried again.
    assert sorted(content for content in seen if content != "bad") == ["a", "b", "c", "d", "e"]
    assert spent.duplicates == len(contents) - len(seen)
    assert (spent.batched, spent.batches) == (len(seen), len(model.seen))
    assert (spent.read_msec, spent.decode_msec) == (10.0, 20.0)
    # The last batch is short, no other.
    assert all(len(batch) == batch_size for batch in sorted(model.seen, key=len)[1:])


def test_results_are_remembered_from_shard_to_shard_and_the_oldest_forgotten() -> None:
    model = Model()
    once = DedupCache(Batches(model, 1), Remembered[str](2))
    for content in "abcbcac":
        assert collect(once, [image("1", content)])[0] == {"1": content.upper()}
    # b and c are remembered; a was forgotten when c came and is seen again, which forgets b; c is still there.
    assert model.seen == [["a"], ["b"], ["c"], ["a"]]


def test_two_batches_are_in_the_model_at_once() -> None:
    together = threading.Barrier(SIDE_BY_SIDE, timeout=20)

    def model(items: list[LoadedImage]) -> list[str]:
        together.wait()
        return ["x"] * len(items)

    results, _, _ = collect(DedupCache(Batches(model, 2), Remembered()), [image(str(n), str(n)) for n in range(8)])
    assert len(results) == 8


def test_what_the_model_raises_ends_the_shard() -> None:
    def broken(items: list[LoadedImage]) -> list[str]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        collect(DedupCache(Batches(broken, 2), Remembered()), [image(str(n), str(n)) for n in range(9)])


def test_the_last_images_of_a_shard_share_a_batch_with_the_first_of_the_next() -> None:
    model = Model()
    once = DedupCache(Batches(model, 4), Remembered())
    first_reads, second_waits = threading.Event(), threading.Event()

    def first() -> Iterator[LoadedImage]:
        first_reads.set()
        # The second shard is in hand before the first one has given its last image.
        assert second_waits.wait(20)
        yield from (image(name, name) for name in "abcdef")

    def second() -> Iterator[LoadedImage]:
        yield from (image(name, name) for name in "ghij")

    def signs_of_life(outcomes: Iterator) -> Iterator:
        for outcome in outcomes:
            second_waits.set()
            yield outcome

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(lambda: list(once(first())))
        assert first_reads.wait(20)
        two = threads.submit(lambda: list(signs_of_life(once(second()))))
        results = [*one.result(20), *two.result(20)]
    assert sorted(outcome[1] for outcome in results if not isinstance(outcome, StageMetrics)) == list("ABCDEFGHIJ")
    assert sorted(model.seen) == [list("abcd"), list("efgh"), list("ij")]


def test_a_shard_does_not_wait_for_ever_for_images_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamscribe.pipelines.images.dedup_cache.PATIENCE_SECONDS", 0.1)
    once = DedupCache(Batches(Model(), 4), Remembered())
    with once.batches.in_hand():
        # Another shard is in hand, and gives nothing.
        assert collect(once, [image("1", "a")])[0] == {"1": "A"}


def test_a_shard_of_equal_images_waits_for_no_other() -> None:
    model = Model()
    begun = time.monotonic()
    results, _, spent = collect(DedupCache(Batches(model, 4), Remembered()), [image(str(n), "a") for n in range(50)])
    assert results == {str(n): "A" for n in range(50)}
    assert (model.seen, spent.duplicates) == ([["a"]], 49)
    assert time.monotonic() - begun < PATIENCE_SECONDS


def test_a_shard_that_breaks_lets_the_next_one_go_on() -> None:
    def broken() -> Iterator[LoadedImage]:
        yield image("1", "a")
        raise OSError("no disk")

    once = DedupCache(Batches(Model(), 4), Remembered())
    with pytest.raises(OSError, match="no disk"):
        collect(once, broken())
    assert collect(once, [image("2", "b")])[0] == {"2": "B"}
