"""Storage of a process that is killed between two operations, the way `kill -9` or a pulled plug does it."""

from dataclasses import dataclass, field

import fsspec

from beamscribe.storage.storage import Storage


class Killed(BaseException):
    """Nothing may catch it, as nothing catches a kill."""


@dataclass(frozen=True)
class DyingStorage(Storage):
    """Lets so many writes and deletes through, each whole, and dies at the next.

    Attributes:
        left: one number, how many there are to come; none: it lives for ever.
    """

    left: list[int] = field(default_factory=list)

    def live(self, operations: int | None) -> None:
        self.left[:] = [] if operations is None else [operations]

    def _spend(self) -> None:
        if self.left:
            if self.left[0] == 0:
                raise Killed
            self.left[0] -= 1

    def write(self, name: str, data: bytes) -> None:
        self._spend()
        super().write(name, data)

    def delete(self, name: str) -> None:
        self._spend()
        super().delete(name)

    def remove(self) -> None:
        fs = fsspec.filesystem("memory")
        if fs.exists(self.path("")):
            fs.rm(self.path(""), recursive=True)
