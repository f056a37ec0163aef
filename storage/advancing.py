"""Work that takes long and gets on, told apart from work that hangs: it counts the bytes that have come."""

import threading
from collections.abc import Callable
from typing import TypeVar

from beamscribe.storage.transient import within

T = TypeVar("T")

_LOCK = threading.Lock()
_bytes = 0


def advanced(size: int) -> None:
    """So many bytes have come, in this process."""
    global _bytes
    with _LOCK:
        _bytes += size


def advance() -> int:
    """Bytes that have come so far in this process; as long as it grows, something gets on."""
    return _bytes


def while_advancing(seconds: float, call: Callable[[], T]) -> T:
    """What a call gives, however long it takes, unless no bytes come for a time.

    Raises:
        TimeoutError: if none do. Its thread goes on until the call ends or the process does.
    """
    return within(seconds, call, advance)
