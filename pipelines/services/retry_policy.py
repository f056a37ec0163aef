"""What a service that refuses does to a job: requests are tried again, and a job that meets only refusals ends."""

import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from beamscribe.pipelines.services.service_error import ServiceError

ATTEMPTS = 6
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 60.0
REFUSED_IN_A_ROW = 10
"""Items without one success between them after which the service is taken to refuse everything."""

T = TypeVar("T")

BETWEEN: Callable[[tenacity.RetryCallState], float] = tenacity.wait_random_exponential(
    FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
)


class ServiceRefusesError(OSError):
    """The service refuses everything: the job stops, what is committed stays, and it can be run again."""


class Breaker:
    """Counts items that a service refused one after the other; once tripped, nobody waits or asks any more.

    Args:
        refused_in_a_row: items after which it trips.
        service: its name, for people.
        items: what they are, for people.
    """

    def __init__(
        self, refused_in_a_row: int = REFUSED_IN_A_ROW, service: str = "the speech service", items: str = "texts"
    ) -> None:
        self._service, self._items = service, items
        self._most = refused_in_a_row
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._tripped = threading.Event()
        self._reason = ""

    def succeeded(self) -> None:
        """The service gave what was asked for."""
        with self._lock:
            self._refused.clear()

    def refused(self, item: str, error: ServiceError) -> None:
        """The service gave nothing for an item, after all tries.

        Raises:
            ServiceRefusesError: if that was one too many.
        """
        with self._lock:
            self._refused.add(item)
            # Requests that were under way when it tripped fail later: what is told is the reason why it tripped.
            if not self._tripped.is_set() and (error.everything or len(self._refused) >= self._most):
                count = len(self._refused)
                self._reason = f"{self._service} refused {count} {self._items} in a row, the last with: {error}"
                self._tripped.set()
        self.check()

    def check(self) -> None:
        """Passes while another request may succeed.

        Raises:
            ServiceRefusesError: if it has tripped.
        """
        self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        """Waits, but no longer than another request may succeed.

        Raises:
            ServiceRefusesError: if it has tripped.
        """
        if self._tripped.wait(seconds):
            raise ServiceRefusesError(self._reason)


class RetryPolicy:
    """Makes requests one after another, and again if they may succeed later.

    Args:
        pace: returns when the next request may be made.
        breaker: ends the waiting when it trips.
    """

    def __init__(self, pace: Callable[[], None], breaker: Breaker) -> None:
        self._pace = pace
        self._breaker = breaker

    def __call__(self, request: Callable[[], T]) -> T:
        """Makes a request; each attempt waits for the rate limiter.

        Raises:
            ServiceError: the last one, if none of `ATTEMPTS` went through, or the service wants to be left alone for
                longer than `LONGEST_WAIT_SECONDS`.
            ServiceRefusesError: if the service refuses everything.
        """

        def in_turn() -> T:
            self._pace()
            self._breaker.check()
            return request()

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_worth_waiting),
            wait=_wait_seconds,
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            sleep=self._breaker.sleep,
            reraise=True,
        )(in_turn)


def _worth_waiting(error: BaseException) -> bool:
    if not isinstance(error, ServiceError) or not error.passing:
        return False
    return (error.retry_after_seconds or 0.0) <= LONGEST_WAIT_SECONDS


def _wait_seconds(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, ServiceError) else None
    return max(asked or 0.0, BETWEEN(state))
