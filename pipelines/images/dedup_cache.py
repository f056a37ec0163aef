"""Images through a model, equal ones once."""

import collections
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from beamscribe.pipelines.images.batches import SIDE_BY_SIDE, Answer, Batches
from beamscribe.pipelines.images.reading import LoadedImage
from beamscribe.pipelines.work.stage_metrics import StageMetrics
from beamscribe.schemas.failure_row import FailureRow

KNOWN = 20_000
"""Results that a process remembers by the digest of the image's bytes, some ten megabytes of captions."""

PATIENCE_SECONDS = 10.0
"""That the last images of a shard wait for others to share their batch with."""

Result = TypeVar("Result")


@dataclass
class Remembered(Generic[Result]):
    """Answers by digest, the latest `size`, those that are awaited too; shared by all shards of a process.

    Attributes:
        size: how many at most.
    """

    size: int = KNOWN
    _answers: "collections.OrderedDict[str, Future[Answer[Result]]]" = field(default_factory=collections.OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, digest: str) -> "Future[Answer[Result]] | None":
        """The answer, if it is remembered and was no error."""
        with self._lock:
            found = self._answers.get(digest)
            if found is None or (found.done() and (found.exception() or isinstance(found.result().result, Exception))):
                return None
            self._answers.move_to_end(digest)
            return found

    def put(self, digest: str, answer: "Future[Answer[Result]]") -> None:
        """Remembers an answer and forgets the one that was asked for longest ago."""
        with self._lock:
            self._answers[digest] = answer
            if len(self._answers) > self.size:
                self._answers.popitem(last=False)


@dataclass
class DedupCache(Generic[Result]):
    """The images of a shard → results, one for each. Called in a thread for each shard in hand.

    Attributes:
        batches: the model.
        remembered: results of earlier images.
    """

    batches: Batches[Result]
    remembered: Remembered[Result]

    def __call__(
        self, loaded: Iterable[LoadedImage | FailureRow]
    ) -> Iterator[tuple[LoadedImage, Result | Exception] | FailureRow | StageMetrics]:
        """Results, failures as they come, and what it took."""
        waiting: collections.deque[tuple[LoadedImage, Future[Answer[Result]], bool]] = collections.deque()
        with self.batches.in_hand():
            yield from self.batches.wait_for_turn()
            try:
                for item in loaded:
                    if isinstance(item, FailureRow):
                        yield item
                        continue
                    yield StageMetrics(item.read_msec, item.decode_msec, read_bytes=item.read_bytes)
                    known = self.remembered.get(item.sha256)
                    answer = known or self.batches.ask(item)
                    if not known:
                        self.remembered.put(item.sha256, answer)
                    waiting.append((item, answer, known is None))
                    if len(waiting) > (SIDE_BY_SIDE + 1) * self.batches.size:
                        # Of images that are all equal, no others will fill the batch.
                        self.batches.hurry(waiting[0][1])
                        yield from _take(*waiting.popleft())
            finally:
                self.batches.end_turn()
        while waiting:
            # The next shard may be slow to come.
            if not wait([waiting[0][1]], PATIENCE_SECONDS).done:
                self.batches.hurry(waiting[0][1])
            yield from _take(*waiting.popleft())


def _take(
    item: LoadedImage, answer: "Future[Answer[Result]]", asked: bool
) -> Iterator[tuple[LoadedImage, Result | Exception] | StageMetrics]:
    result, spent = answer.result()
    yield spent if asked else StageMetrics(duplicates=1)
    yield item, result
