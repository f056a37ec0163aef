"""A budget of requests a minute, kept by each process for its share of the whole job."""

import threading
import time
from collections.abc import Callable

USED = 0.98
"""Share of the budget that is used: requests that leave evenly spaced arrive less so, and the service counts there."""

CATCH_UP_SECONDS = 0.5
"""Time that is made up for at most: with `USED`, no minute holds more than the budget, and no ten seconds 4 % more."""


class RateLimiter:
    """Lets requests go one by one, evenly spaced, so that no stretch of time holds more than the budget allows.

    A thread that is woken late, as on a busy machine, costs no budget: the next request is due one interval after the
    moment at which this one was due, not after it left. Longer times in which nobody asked are not made up for: a burst
    is what services refuse.

    Args:
        requests_per_minute: of all processes together.
        sharers: how many processes share it now; asked again whenever a request waits.
        now: seconds of a clock that only goes forward.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        requests_per_minute: float,
        sharers: Callable[[], int] = lambda: 1,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 60.0 / (requests_per_minute * USED)
        self._sharers = sharers
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._last: float | None = None

    def wait(self) -> None:
        """Returns when the next request may be made, to one thread after another."""
        # Held while waiting: who waits behind takes the share that is then right.
        with self._lock:
            while (left := (due := self._due()) - self._now()) > 0:
                self._sleep(min(left, 1.0))
            self._last = max(due, self._now() - CATCH_UP_SECONDS)

    def _due(self) -> float:
        sharers = self._sharers()
        return self._now() if self._last is None else self._last + self._interval * sharers
