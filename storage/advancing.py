"""Work that takes long and gets on, told apart from work that hangs: it counts the bytes that have come."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

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
    box: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread.
            box.put((None, error))

    threading.Thread(target=run, name="advancing", daemon=True).start()
    while True:
        before = advance()
        try:
            value, error = box.get(timeout=seconds)
        except queue.Empty:
            if advance() == before:
                raise TimeoutError(f"no bytes for {seconds:.0f} s") from None
            continue
        if error is not None:
            raise error
        return value  # type: ignore[return-value]
