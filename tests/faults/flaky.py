"""A storage that fails as storages do: one call in five, in one of the ways below."""

import random
import time
from typing import Any

import aiohttp
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from yarl import URL

PROTOCOL = "flaky"


def busy() -> aiohttp.ClientResponseError:
    request = aiohttp.RequestInfo(URL("http://here"), "GET", None, URL("http://here"))  # type: ignore[arg-type]
    return aiohttp.ClientResponseError(request, (), status=503, message="Service Unavailable")


class FlakyFileSystem(MemoryFileSystem):
    """Memory whose calls fail at random; the class holds how often, so that every instance obeys."""

    protocol = PROTOCOL
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    share = 0.0
    random = random.Random(0)
    faults = 0
    calls = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace(f"{PROTOCOL}://", "memory://"))

    def unstrip_protocol(self, name: str) -> str:
        return f"{PROTOCOL}://{self._strip_protocol(name).lstrip('/')}"

    @classmethod
    def _may_fail(cls) -> bool:
        """Raises, waits, or says that half of the work is to be left out."""
        cls.calls += 1
        if cls.random.random() >= cls.share:
            return False
        cls.faults += 1
        kind = cls.random.randrange(5)
        if kind == 0:
            raise ConnectionResetError(104, "Connection reset by peer")
        if kind == 1:
            raise busy()
        if kind == 2:
            raise TimeoutError("no answer")
        if kind == 3:
            time.sleep(0.01)
        return kind == 4

    def cat_file(self, path: str, *args: Any, **options: Any) -> bytes:
        if self._may_fail():
            raise aiohttp.ClientPayloadError("Response payload is not completed")
        return super().cat_file(path, *args, **options)

    def pipe_file(self, path: str, value: bytes, *args: Any, **options: Any) -> None:
        # A short write that reports success.
        super().pipe_file(path, value[:-1] if self._may_fail() and value else value, *args, **options)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        self._may_fail()
        return super().ls(path, detail=detail, **options)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self._may_fail()
        return super().info(path, **options)

    def rm_file(self, path: str) -> None:
        # Done, but the answer is lost.
        lost = self._may_fail()
        super().rm_file(path)
        if lost:
            raise ConnectionResetError(104, "Connection reset by peer")

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self._may_fail():
            raise busy()
        super().mv(path1, path2, **options)


fsspec.register_implementation(PROTOCOL, FlakyFileSystem, clobber=True)
