"""A bound on requests that are under way at the same time, kept by each process for its share of the whole job."""

import contextlib
import threading
from collections.abc import Callable, Iterator

LOOK_SECONDS = 1.0
"""Between two looks at how many processes share the bound."""


class Gate:
    """Lets so many requests be under way.

    Args:
        concurrency: of all processes together.
        sharers: how many processes share it now.
        check: called after each wait; what it raises ends the waiting.
    """

    def __init__(
        self, concurrency: int, sharers: Callable[[], int] = lambda: 1, check: Callable[[], None] = lambda: None
    ) -> None:
        self._concurrency, self._sharers, self._check = concurrency, sharers, check
        self._changed = threading.Condition()
        self._under_way = 0

    @contextlib.contextmanager
    def passing(self, most: Callable[[], int | None] = lambda: None) -> Iterator[None]:
        """Waits for a place, which is held for the body.

        Args:
            most: a lower bound that holds for now; None for none.
        """
        while True:
            # Asked without the lock: the answer may come from storage.
            share = max(1, self._concurrency // self._sharers())
            with self._changed:
                bound = most()
                if self._under_way < (share if bound is None else min(share, bound)):
                    self._under_way += 1
                    break
                self._changed.wait(LOOK_SECONDS)
            self._check()
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()
