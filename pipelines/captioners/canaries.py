"""Images that are asked for a second time along a run, to see whether the service still answers as before."""

import difflib
import threading
from typing import NamedTuple

from beamscribe.model.captioner_interface import ImageInput

ROWS_BETWEEN_CANARIES = 50

DRIFT = 0.5
"""Mean likeness of answers to the same question, below which a warning is given: at temperature 0 it is near 1."""


class Canary(NamedTuple):
    """An image that is asked for again later, and what was said of it."""

    image: ImageInput
    asked: str
    key: str
    caption: str


class Canaries:
    """Keeps the first images, and says now and then which one is to be asked for again.

    Args:
        count: images that are asked for again.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._kept: list[Canary] = []
        self._rows = 0
        self.asked = 0

    def due(self, latest: Canary) -> list[Canary]:
        """What is to be asked for again now: nothing, or one."""
        if not self._count:
            return []
        with self._lock:
            self._rows += 1
            if len(self._kept) < self._count:
                self._kept.append(latest)
            if self.asked >= self._count or self._rows < (self.asked + 1) * ROWS_BETWEEN_CANARIES:
                return []
            self.asked += 1
            return [self._kept[(self.asked - 1) % len(self._kept)]]


def likeness(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1, by the words in them and their order."""
    return difflib.SequenceMatcher(None, one.lower().split(), other.lower().split(), autojunk=False).ratio()
