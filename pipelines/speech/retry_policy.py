"""What a service that refuses does to a job: requests are tried again, and a job that meets only refusals ends."""

import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from beamscribe.pipelines.speech.engine import SpeechError

ATTEMPTS = 6
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 60.0
REFUSED_IN_A_ROW = 10
"""Texts without one success between them after which the service is taken to refuse everything."""

T = TypeVar("T")

BETWEEN: Callable[[tenacity.RetryCallState], float] = tenacity.wait_random_exponential(
    FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
)


class ServiceRefusesError(OSError):
    """The speech service refuses everything: the job stops, what is committed stays, and it can be run again."""


class Breaker:
    """Counts texts that a service refused one after the other; once tripped, nobody waits or asks any more.

    Args:
        refused_in_a_row: texts after which it trips.
    """

    def __init__(self, refused_in_a_row: int = REFUSED_IN_A_ROW) -> None:
        self._most = refused_in_a_row
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._tripped = threading.Event()
        self._reason = ""

    def spoken(self) -> None:
        """The service gave sound."""
        with self._lock:
            self._refused.clear()

    def refused(self, text: str, error: SpeechError) -> None:
        """The service gave none, after all tries.

        Raises:
            ServiceRefusesError: if that was one too many.
        """
        with self._lock:
            self._refused.add(text)
            if len(self._refused) >= self._most:
                self._reason = f"the speech service refused {len(self._refused)} texts in a row, the last with: {error}"
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
    """Makes requests for an engine (`pipelines.speech.engine.Asking`): in turn, and again if they may go through later.

    Args:
        pace: returns when the next request may be made.
        breaker: ends the waiting when it trips.
    """

    def __init__(self, pace: Callable[[], None], breaker: Breaker) -> None:
        self._pace = pace
        self._breaker = breaker

    def __call__(self, request: Callable[[], T]) -> T:
        """Makes a request; each try waits for its turn.

        Raises:
            SpeechError: the last one, if none of `ATTEMPTS` went through, or the service wants to be left alone for
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
    if not isinstance(error, SpeechError) or not error.passing:
        return False
    return (error.retry_after_seconds or 0.0) <= LONGEST_WAIT_SECONDS


def _wait_seconds(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, SpeechError) else None
    return max(asked or 0.0, BETWEEN(state))
