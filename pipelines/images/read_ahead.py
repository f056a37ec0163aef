"""Files of a shard, read ahead of their decoding by a pool of threads that all shards of a process share.

Storage takes its time to answer and answers many at once, so the width of reading has nothing to do with the number of
cores. What is read and not yet decoded is bounded in bytes, for each shard on its own: a shard that waits for
the model cannot take the memory that the one before it needs to end.
"""

import collections
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from beamscribe.pipelines.images.reading import ReadFile, Reading
from beamscribe.pipelines.work.work_item import ARROW, INFLATED_TAR, OLD_INFLATED_TAR, PARQUET, WorkItem
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.location import locate
from beamscribe.storage.uri import filesystem
from beamscribe.storage.web import WebFileSystem

LOCAL_WIDTH, WEB_WIDTH, STORE_WIDTH = 4, 64, 128
"""Reads under way at once by default: of local disks, of the web, where a host is asked politely, and of object stores.
At 300 ms for an answer 128 reads are 400 files a second."""

BYTES_AHEAD = 2**27
"""Bytes of a shard that are read or being read and not yet decoded. A process has two shards in hand."""

FILES_PER_READ = 4
"""Files of a shard that are read, or are being read, for each thread: a slow answer in front holds up only its own."""

EXPECTED_BYTES = 2**20
"""Bytes expected of a file before any has been read."""

IN_ORDER = frozenset((INFLATED_TAR, OLD_INFLATED_TAR, PARQUET, ARROW))
"""Kinds of members whose container is read from its beginning: more readers would only wait for each other."""

ItemT = TypeVar("ItemT")


def read_width(references: Iterable[WorkItem], reading: Reading) -> int:
    """Threads that read the images of a shard.

    Args:
        references: of the shard.
        reading: whose `io_threads` says how many, except where a container is read in order.
    """
    # One of each kind of storage tells for all; a list may name several.
    places: dict[str, str] = {}
    for one in references:
        if one.member is not None and one.member.kind in IN_ORDER:
            return LOCAL_WIDTH
        uri = one.container or one.uri
        places.setdefault(locate(uri).protocol, uri)
    if reading.io_threads is not None:
        return reading.io_threads
    return max((_width(uri, reading) for uri in places.values()), default=LOCAL_WIDTH)


def _width(uri: str, reading: Reading) -> int:
    try:
        fs, _ = filesystem(uri, reading.storage_options, reading.allow_private)
    except OSError:
        return LOCAL_WIDTH  # Each image says as a failure why it cannot be read.
    # Other clients of fsspec have one connection.
    if not fs.async_impl:
        return LOCAL_WIDTH
    return WEB_WIDTH if isinstance(fs, WebFileSystem) else STORE_WIDTH


@functools.lru_cache
def reading_pool(threads: int) -> ThreadPoolExecutor:
    """The threads that read, the same ones for all shards of the process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="read")


class ReadAhead(Iterator[ReadFile | FailureRow], Generic[ItemT]):
    """Files in the order of what is read; the first are being read as soon as this is made.

    Args:
        read: gives one file or failure for each image of an item; called in threads.
        items: read in the caller's thread, no farther ahead than needed.
        pool: of threads.
        most: items at most that are read or under way and not yet asked for.
        most_bytes: that are read or under way and not yet released, as far as can be foretold; one item is read in any
            case.
        expected_bytes: of an item, before any has come.
    """

    def __init__(
        self,
        read: Callable[[ItemT], Sequence[ReadFile | FailureRow]],
        items: Iterable[ItemT],
        pool: ThreadPoolExecutor,
        most: int,
        most_bytes: int = BYTES_AHEAD,
        expected_bytes: int = EXPECTED_BYTES,
    ) -> None:
        self._read, self._items, self._pool = read, iter(items), pool
        self._most, self._most_bytes = most, most_bytes
        self._waiting: collections.deque[Future[Sequence[ReadFile | FailureRow]]] = collections.deque()
        self._ready: collections.deque[ReadFile | FailureRow] = collections.deque()
        self._lock = threading.Lock()
        self._under_way = self._held = 0
        self._count, self._bytes = 1, expected_bytes
        self._fill()

    def __next__(self) -> ReadFile | FailureRow:
        while not self._ready:
            self._fill()
            if not self._waiting:
                raise StopIteration
            self._ready.extend(self._waiting.popleft().result())
            self._fill()
        return self._ready.popleft()

    def release(self, file: ReadFile) -> None:
        """The bytes of a file are no longer needed."""
        with self._lock:
            self._held -= len(file.data)

    def close(self) -> None:
        """Nothing more is wanted: reads that have not begun never do."""
        for future in self._waiting:
            future.cancel()

    def _fill(self) -> None:
        while len(self._waiting) < self._most and (not self._waiting or self._has_room()):
            item = next(self._items, None)
            if item is None:
                return
            with self._lock:
                self._under_way += 1
            self._waiting.append(self._pool.submit(self._read_one, item))

    def _has_room(self) -> bool:
        with self._lock:
            return self._held + self._under_way * self._bytes // self._count < self._most_bytes

    def _read_one(self, item: ItemT) -> Sequence[ReadFile | FailureRow]:
        files = self._read(item)
        size = sum(len(file.data) for file in files if isinstance(file, ReadFile))
        with self._lock:
            self._under_way -= 1
            self._held += size
            self._count += 1
            self._bytes += size
        return files
