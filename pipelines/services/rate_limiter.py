"""A budget of requests a minute, kept by each process for its share of the whole job."""

import threading
import time
from collections.abc import Callable

USED = 0.98
"""Share of the budget that is used: requests that leave evenly spaced arrive less so, and the service counts there."""


class RateLimiter:
    """Lets requests go one by one, evenly spaced, so that no stretch of time holds more than the budget allows.

    Time in which nobody asked is not made up for: a burst is what services refuse.

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
        """Returns when the next request may be made; threads take turns."""
        # Held while waiting: who waits behind takes the share that is then right.
        with self._lock:
            sharers = self._sharers()
            while self._last is not None and (left := self._last + self._interval * sharers - self._now()) > 0:
                self._sleep(min(left, 1.0))
                sharers = self._sharers()
            self._last = self._now()
