"""Work under way before it is asked for: storage takes its time to answer, and answers many at once."""

import collections
import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

GROUP, GROUPS_AHEAD = 1000, 10
"""Results of an item that are handed over together, and groups of them that wait at most."""

LOOK_SECONDS = 0.1
"""Between two looks of a thread, which has nowhere to put its results, whether anybody wants them still."""


def in_groups(items: Iterable[ItemT], size: int) -> Generator[list[ItemT], None, None]:
    """Items that follow each other, so many together; fewer at the end."""
    remaining = iter(items)
    while some := list(itertools.islice(remaining, size)):
        yield some


def prefetch(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int, ahead: int
) -> Generator[ResultT, None, None]:
    """What a function makes of items, in their order.

    Args:
        function: called in threads; what it raises is raised here in the place of its result.
        items: read in the caller's thread, no farther ahead than needed.
        threads: that call it.
        ahead: results at most that are made or under way before they are asked for.
    """
    waiting: collections.deque[Future[ResultT]] = collections.deque()
    remaining = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    # An interrupt does not wait for storage that does not answer, nor does a second one that comes while the first is
    # dealt with: what waits says so.
    patient = False
    try:
        while True:
            for item in itertools.islice(remaining, ahead - len(waiting)):
                waiting.append(pool.submit(function, item))
            if not waiting:
                patient = True
                return
            yield waiting.popleft().result()
    except (Exception, GeneratorExit):
        patient = True
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)


def prefetch_as_needed(
    function: Callable[[ItemT], ResultT],
    items: Iterable[ItemT],
    most: int,
    weigh: Callable[[ItemT], int] = lambda _: 1,
) -> Generator[ResultT, None, None]:
    """As `prefetch`, with as many results ahead as it takes that nobody waits: twice as many whenever somebody does.

    Who takes results slowly has few ahead, which are lost if he ends before he has taken them.

    Args:
        function: called in threads; what it raises is raised here when its turn comes.
        items: gone through in the caller's thread, no farther ahead than needed.
        most: results that are made or under way before they are asked for.
        weigh: for how many results one counts; the last one may go beyond `most`.
    """
    waiting: collections.deque[tuple[int, Future[ResultT]]] = collections.deque()
    remaining = iter(items)
    ahead, taken, held = min(2, most), 0, 0
    pool = ThreadPoolExecutor(most, thread_name_prefix="ahead")
    try:
        while True:
            while held < ahead and (found := list(itertools.islice(remaining, 1))):
                weight = weigh(found[0])
                waiting.append((weight, pool.submit(function, found[0])))
                held += weight
            if not waiting:
                return
            weight, result = waiting.popleft()
            # Nobody can have been before the first ones.
            if taken >= ahead and not result.done():
                ahead, taken = min(2 * ahead, most), 0
            taken += weight
            held -= weight
            yield result.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def prefetch_from_each(
    function: Callable[[ItemT], Generator[ResultT, None, None]], items: Iterable[ItemT], most: int
) -> Generator[ResultT, None, None]:
    """All that a function finds in each item, in the order of the items; in the next ones it is found meanwhile.

    Args:
        function: called in threads; what it raises is raised here behind what it has found in its item.
        items: read in the caller's thread, no farther ahead than needed.
        most: items that are gone through side by side, each ahead of the caller by some thousands of results at most.
    """
    waiting: collections.deque[queue.Queue[list[ResultT] | BaseException]] = collections.deque()
    remaining, stopped = iter(items), threading.Event()
    pool = ThreadPoolExecutor(most, thread_name_prefix="ahead")

    def put(results: queue.Queue[list[ResultT] | BaseException], some: list[ResultT] | BaseException) -> None:
        while not stopped.is_set():
            try:
                results.put(some, timeout=LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def fill(item: ItemT, results: queue.Queue[list[ResultT] | BaseException]) -> None:
        some: list[ResultT] = []
        error: BaseException | None = None
        try:
            with contextlib.closing(function(item)) as found:
                for one in found:
                    some.append(one)
                    if len(some) == GROUP:
                        put(results, some)
                        some = []
                    if stopped.is_set():
                        return
        except BaseException as failed:  # noqa: BLE001 - raised where the results are taken
            error = failed
        if some:
            put(results, some)
        put(results, error or [])

    try:
        while True:
            for item in itertools.islice(remaining, most - len(waiting)):
                waiting.append(queue.Queue(GROUPS_AHEAD))
                pool.submit(fill, item, waiting[-1])
            if not waiting:
                return
            results = waiting.popleft()
            while some := results.get():
                if isinstance(some, BaseException):
                    raise some
                yield from some
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
