"""Signs of life: something that is done at regular times, and files that show other processes that it is still done."""

import contextlib
import threading
from collections.abc import Callable

from beamscribe.storage.critical_section import RunStoppedError

SIZES = 61
"""How many sizes a file has in turn: a prime, so that no rhythm of looking always finds the same one."""


def changing(data: bytes, beat: int) -> bytes:
    """What a file says, and spaces that change its size with each beat: one listing shows which processes are alive."""
    return data + b" " * (beat % SIZES)


class Heartbeat:
    """Calls a function at regular times, in a thread of its own, until it is stopped or the function says so.

    Storage that does not answer now may do so at the next beat, so an `OSError` of the function is no end; nor is the
    refusal of a run that was stopped.

    Args:
        name: of the thread.
        beat: what to do; returns whether to go on.
        seconds: until the next beat, asked before each.
    """

    def __init__(self, name: str, beat: Callable[[], bool], seconds: Callable[[], float]) -> None:
        self._beat, self._seconds = beat, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins; the first beat comes after the first wait."""
        self._thread.start()

    def stop(self, wait_seconds: float = 0.0) -> None:
        """No further beat begins.

        Args:
            wait_seconds: at most, for a beat that is under way; it may wait for its storage as long as it likes.
        """
        self._ended.set()
        if wait_seconds and self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait_seconds)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._ended.is_set()

    @property
    def alive(self) -> bool:
        """Whether there may be another beat."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds()):
            with contextlib.suppress(OSError, RunStoppedError):
                if not self._beat():
                    return
