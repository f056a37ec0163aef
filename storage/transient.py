"""Which errors of storage can pass, how often they are tried again, and how long a remote answer may take."""

import errno
import functools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import tenacity

ATTEMPTS = 5
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 20.0
TIMEOUT_SECONDS = 120.0
"""For the whole of one remote read or write: a file of 250 MB at 2 MB/s. A connection that stalls is given up."""

_PASSING_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
_PASSING_ERRNO = frozenset(
    (
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EIO,
        errno.ESTALE,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENOBUFS,
    )
)
_CLIENTS = frozenset(("aiohttp", "azure", "botocore", "aiobotocore", "gcsfs", "google", "requests", "urllib3"))
"""Packages that speak to remote storage; an error of theirs without a status is one of the connection."""

P = ParamSpec("P")
T = TypeVar("T")


class StorageError(OSError):
    """Storage cannot do what was asked; the message says what and where.

    Attributes:
        transient: whether the same call may succeed later.
    """

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: time-outs, lost connections, a busy or failing server."""
    if isinstance(error, StorageError):
        return error.transient
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _PASSING_ERRNO
    status = _status(error)
    if status is not None:
        return status in _PASSING_STATUS
    return type(error).__module__.partition(".")[0] in _CLIENTS


def _status(error: BaseException) -> int | None:
    """The HTTP status that a client's error carries, if it does."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        numbers = (getattr(error, name, None) for name in ("status", "status_code", "code"))
        found = next(filter(None, numbers), None)
    return found if isinstance(found, int) else None


BETWEEN: Callable[[tenacity.RetryCallState], float] = tenacity.wait_random_exponential(
    FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
)
"""Seconds until the next attempt: twice as long each time at most, and random, so that workers do not march in step."""


def retried(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function that may be called again; what does not pass, or not in time, is raised as it came."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        begun = time.monotonic()
        # Tenacity takes as long as reading a small local file does, and most calls succeed at once.
        try:
            return function(*args, **kwargs)
        except Exception as error:
            left = begun + TIMEOUT_SECONDS - time.monotonic()
            if left <= 0 or not is_transient(error):
                raise
            first = [error]

        def attempt() -> T:
            if first:
                raise first.pop()
            return function(*args, **kwargs)

        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            wait=lambda state: BETWEEN(state),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(left),
            reraise=True,
        )
        return again(attempt)

    return call


def within(seconds: float, call: Callable[[], T], advance: Callable[[], int] | None = None) -> T:
    """What a call gives, if it does so in time; not every client has time-outs, and none has the same ones.

    Args:
        seconds: that it may take.
        call: runs in a thread of its own.
        advance: a number that grows as long as the call gets on, which then may go on for as many seconds more.

    Raises:
        TimeoutError: if it takes longer. Its thread goes on until the call ends or the process does.
    """
    box: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread.
            box.put((None, error))

    threading.Thread(target=run, name="remote", daemon=True).start()
    while True:
        before = advance() if advance else 0
        try:
            value, error = box.get(timeout=seconds)
            break
        except queue.Empty:
            if advance is None:
                raise TimeoutError(f"no answer within {seconds:.0f} s") from None
            if advance() == before:
                raise TimeoutError(f"no bytes for {seconds:.0f} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
