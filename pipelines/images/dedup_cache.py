"""Images through a model, equal ones once."""

import collections
import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from beamscribe.pipelines.images.batches import Answer, Batches
from beamscribe.pipelines.images.reading import LoadedImage
from beamscribe.pipelines.work.run import EndedEarlyError
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.stage_metrics import NOTHING, StageMetrics

KNOWN = 20_000
"""Results that a process remembers by the digest of the image's bytes, some ten megabytes of captions."""

PATIENCE_SECONDS = 10.0
"""That the last images of a shard wait for others to share their batch with."""

ALIVE_SECONDS = 1.0

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
        key: of an image: two with the same one get the same result.
        patient: whether the model sees to it that nothing hangs: then a shard that waits for it says that it is alive.
    """

    batches: Batches[Result]
    remembered: Remembered[Result]
    key: Callable[[LoadedImage], str] = operator.attrgetter("sha256")
    patient: bool = False

    def __call__(
        self, loaded: Iterable[LoadedImage | FailureRow]
    ) -> Iterator[tuple[LoadedImage, Result | Exception] | FailureRow | StageMetrics]:
        """Results, failures as they come, and what it took.

        Raises:
            EndedEarlyError: of the model, after all results that there are.
        """
        ended: list[EndedEarlyError] = []
        waiting: collections.deque[tuple[LoadedImage, Future[Answer[Result]], bool]] = collections.deque()
        with self.batches.in_hand():
            yield from self.batches.wait_for_turn()
            try:
                for item in loaded:
                    if isinstance(item, FailureRow):
                        yield item
                        continue
                    yield StageMetrics(item.read_msec, item.decode_msec, read_bytes=item.read_bytes)
                    key = self.key(item)
                    known = self.remembered.get(key)
                    answer = known or self.batches.ask(item)
                    if not known:
                        self.remembered.put(key, answer)
                    waiting.append((item, answer, known is None))
                    if len(waiting) > self._window:
                        # Of images that are all equal, no others will fill the batch.
                        self.batches.hurry(waiting[0][1])
                        yield from self._alive(waiting[0][1])
                        yield from _take(*waiting.popleft(), ended)
                    if ended:
                        break
            finally:
                self.batches.end_turn()
        while waiting:
            # The next shard may be slow to come.
            if not wait([waiting[0][1]], PATIENCE_SECONDS).done:
                self.batches.hurry(waiting[0][1])
            yield from self._alive(waiting[0][1])
            yield from _take(*waiting.popleft(), ended)
        if ended:
            raise ended[0]

    @property
    def _window(self) -> int:
        """Images that wait for results at most; where answers take their own time, one that is late delays none."""
        calls = self.batches.calls_at_once
        return (4 * calls if self.patient else calls + 1) * self.batches.size

    def _alive(self, answer: "Future[Answer[Result]]") -> Iterator[StageMetrics]:
        while self.patient and not wait([answer], ALIVE_SECONDS).done:
            yield NOTHING


def _take(
    item: LoadedImage, answer: "Future[Answer[Result]]", asked: bool, ended: list[EndedEarlyError]
) -> Iterator[tuple[LoadedImage, Result | Exception] | StageMetrics]:
    try:
        result, spent = answer.result()
    except EndedEarlyError as error:
        ended.append(error)
        return
    yield spent if asked else StageMetrics(duplicates=1)
    yield item, result
