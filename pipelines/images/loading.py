"""The images of a shard, read and decoded ahead of the model: in threads, or apart where one may end its decoder."""

import datetime
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from beamscribe.pipelines.images.isolation import load_images_apart
from beamscribe.pipelines.images.read_ahead import LOCAL_WIDTH, ReadAhead
from beamscribe.pipelines.images.reading import LoadedImage, ReadFile, Reading, Wanted, decode_read
from beamscribe.pipelines.images.shard_files import read_each, read_shard
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.prefetch import in_groups, prefetch

DECODERS = 2
"""Threads that decode, at least, and one a core where there are more: Pillow lets go of the interpreter lock. More than
cores only wait for each other: with four on two cores a job that only decodes was a tenth slower."""

DECODED_TOGETHER = 4
"""Images that a thread decodes before it hands them on. Beside other work on the cores, handing on each costs a fifth
of what a photograph of 15 kB takes; on cores that do nothing else it makes no difference."""

SHARE_OF_STALL = 0.2
"""The share of the time that a shard may make no progress, what one image of a suspect shard may take: 60 s by default.
The slowest image of 100 megapixels takes some ten seconds, and a remote read may be tried again."""


def load_shard(
    shard: Shard, wanted: Wanted, reading: Reading, run: Run, batch_size: int
) -> Iterator[LoadedImage | FailureRow]:
    """A shard's images, with the failures met on the way; two batches are decoded ahead.

    Reading begins with this call, not when the first image is asked for: a shard that waits for the one before it has
    its first files by then.
    """
    if shard.suspect:
        limit = run.stall_timeout_seconds * SHARE_OF_STALL
        todo = shard.passing.listed() if shard.passing else shard.todo
        return load_images_apart(todo, wanted, reading, run.started, limit)
    files: Any = shard.passing or read_shard(shard.todo, reading, run.started)
    return decoded(files, wanted, reading, run.started, 2 * batch_size, _decoders(run))


def _decoders(run: Run) -> int:
    """Threads that decode in one of the processes which share this machine's cores."""
    return max(DECODERS, (os.cpu_count() or 1) // (run.processes or 1) if run.processes != 0 else 1)


def load_images(
    todo: Iterable[PendingItem],
    wanted: Wanted,
    reading: Reading,
    run_started: datetime.datetime,
    ahead: int,
    width: int = LOCAL_WIDTH,
) -> Iterator[LoadedImage | FailureRow]:
    """Images in order.

    Args:
        todo: what to load.
        wanted: what is made of them, for which images are decoded.
        reading: how they are read.
        run_started: for failure rows.
        ahead: images at most that are decoded before they are asked for.
        width: threads that read.
    """
    return decoded(read_each(todo, reading, run_started, width), wanted, reading, run_started, ahead)


def decoded(
    files: ReadAhead[Any],
    wanted: Wanted,
    reading: Reading,
    run_started: datetime.datetime,
    ahead: int,
    threads: int = DECODERS,
) -> Iterator[LoadedImage | FailureRow]:
    """Images of files, in their order; bytes are released as soon as they are decoded."""

    def decode_one(file: ReadFile | FailureRow) -> LoadedImage | FailureRow:
        if isinstance(file, FailureRow):
            return file
        try:
            return decode_read(file, wanted, reading, run_started)
        finally:
            files.release(file)

    def decode(some: Sequence[ReadFile | FailureRow]) -> list[LoadedImage | FailureRow]:
        return [decode_one(file) for file in some]

    # Where few are decoded ahead, each thread has its part of them still.
    together = max(1, min(DECODED_TOGETHER, ahead // threads))
    try:
        for some in prefetch(decode, in_groups(files, together), threads, max(1, ahead // together)):
            yield from some
    finally:
        files.close()
