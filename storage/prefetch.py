"""Work under way before it is asked for: storage takes its time to answer, and answers many at once."""

import collections
import itertools
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


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
