import errno
import threading
import time
from pathlib import Path

import aiohttp
import pytest
from fsspec.exceptions import FSTimeoutError
from yarl import URL

from beamscribe.storage.transient import ATTEMPTS, StorageError, is_transient, retried, within


def answer(status: int) -> aiohttp.ClientResponseError:
    request = aiohttp.RequestInfo(URL("http://here"), "GET", None, URL("http://here"))  # type: ignore[arg-type]
    return aiohttp.ClientResponseError(request, (), status=status)


class GoogleError(Exception):
    """As gcsfs and google-cloud raise them."""

    __module__ = "gcsfs.retry"

    def __init__(self, code: int | None) -> None:
        self.code = code


class AmazonError(Exception):
    """As botocore raises them."""

    __module__ = "botocore.exceptions"

    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (FileNotFoundError("http://here/gone.jpg"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (OSError(errno.ENOSPC, "full"), False),
        (OSError(errno.ENAMETOOLONG, "long"), False),
        (OSError(errno.EIO, "bad sector, or a network disk that will be back"), True),
        (OSError(errno.ESTALE, "network disk"), True),
        (OSError(errno.EHOSTUNREACH, "cable"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "not yet"), True),
        (BrokenPipeError(), True),
        (TimeoutError("slow"), True),
        (TimeoutError(), True),
        (FSTimeoutError(), True),
        (answer(404), False),
        (answer(403), False),
        (answer(408), True),
        (answer(429), True),
        (answer(500), True),
        (answer(503), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientPayloadError("half an answer"), True),
        (GoogleError(503), True),
        (GoogleError(401), False),
        (GoogleError(None), True),
        (AmazonError(503), True),
        (AmazonError(403), False),
        (ValueError("a mistake of ours"), False),
        (StorageError("no such protocol"), False),
        (StorageError("503", transient=True), True),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}",
)
def test_what_can_pass(error: Exception, passes: bool) -> None:
    assert is_transient(error) == passes


@pytest.mark.parametrize(
    ("failures", "error", "calls"),
    [
        (0, ConnectionResetError(), 1),
        (ATTEMPTS - 1, ConnectionResetError(), ATTEMPTS),
        (ATTEMPTS, ConnectionResetError(), ATTEMPTS),
        (1, FileNotFoundError(), 1),
    ],
    ids=["at once", "in time", "too late", "never"],
)
def test_tries_again_what_can_pass_and_raises_it_as_it_came(failures: int, error: Exception, calls: int) -> None:
    called = []

    @retried
    def call() -> str:
        called.append(1)
        if len(called) <= failures:
            raise error
        return "answer"

    if failures < calls:
        assert call() == "answer"
    else:
        with pytest.raises(type(error)):
            call()
    assert len(called) == calls


def test_a_call_in_time_gives_what_it_gives() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(FileNotFoundError):
        within(5, Path("/no/such/file").read_bytes)


def test_a_call_that_hangs_is_given_up() -> None:
    release, began = threading.Event(), time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        within(0.05, release.wait)
    assert time.monotonic() - began < 5
    release.set()
