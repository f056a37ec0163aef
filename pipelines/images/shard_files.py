"""The files of a shard, each read in the way that suits where it is."""

import datetime
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from beamscribe.pipelines.images.read_ahead import (
    EXPECTED_BYTES,
    FILES_PER_READ,
    LOCAL_WIDTH,
    ReadAhead,
    read_width,
    reading_pool,
)
from beamscribe.pipelines.images.reading import ReadFile, Reading, not_read, read_image
from beamscribe.pipelines.sources.archive_members import with_header
from beamscribe.pipelines.sources.members import read_in_passing, read_piece
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.tar_parts import PIECE_BYTES, InflatedTar, Piece, pieces_of
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import INFLATED_TAR, TAR, ZIP, Member
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.location import locate
from beamscribe.storage.prefetch import in_groups

LOCAL_TOGETHER = 4
"""Files of a local disk that a thread reads before it hands them on: it takes as long to hand on one as to read it."""

PIECES_AT_ONCE = 8
"""Pieces of a remote archive that are asked for at once: at 100 ms for an answer they are 320 MB a second."""


def read_each(
    todo: Iterable[PendingItem],
    reading: Reading,
    run_started: datetime.datetime,
    width: int = LOCAL_WIDTH,
    together: int = 1,
) -> ReadAhead[Any]:
    """Files one by one.

    Args:
        todo: what to read.
        reading: how.
        run_started: for failure rows.
        width: threads.
        together: files that a thread reads before it hands them on.
    """

    def read(some: Sequence[PendingItem]) -> list[ReadFile | FailureRow]:
        return [read_image(item, reading, run_started) for item in some]

    most, expected_bytes = max(1, FILES_PER_READ * width // together), together * EXPECTED_BYTES
    return ReadAhead(read, in_groups(todo, together), reading_pool(width), most, expected_bytes=expected_bytes)


def read_shard(todo: Sequence[PendingItem], reading: Reading, run_started: datetime.datetime) -> ReadAhead[Any]:
    """Files of a shard: of a compressed tar in one pass, of a remote tar or zip in large pieces, all others one by one.

    Args:
        todo: of the shard; members of an archive come in the order of their bytes.
        reading: how.
        run_started: for failure rows.
    """
    containers = {item.reference.to_read().container for item in todo}
    kinds = {item.reference.member.kind if item.reference.member else "" for item in todo}
    if len(containers) == 1 and kinds == {INFLATED_TAR}:
        return _in_one_pass(todo, reading, run_started)
    if len(containers) == 1 and kinds in ({TAR}, {ZIP}) and _gives_parts(next(iter(containers))):
        return _in_pieces(todo, reading, run_started)
    width = read_width((item.reference for item in todo), reading)
    local = all(locate(item.reference.container or item.reference.uri).local for item in todo)
    return read_each(todo, reading, run_started, width, LOCAL_TOGETHER if local else 1)


def _gives_parts(container: str) -> bool:
    """Whether a container is remote and its storage surely gives a part of it that is asked for."""
    place = locate(container)
    return not place.local and not place.web


def _member(item: PendingItem) -> Member:
    member = item.reference.member
    assert member is not None
    return member


def _in_one_pass(todo: Sequence[PendingItem], reading: Reading, run_started: datetime.datetime) -> ReadAhead[Any]:
    in_order = sorted(todo, key=lambda item: (_member(item).start, _member(item).place))
    container = in_order[0].reference.to_read().container
    where = Where.of(container, reading.storage_options, reading.allow_private)
    stream = InflatedTar(where, _member(in_order[0]).version)

    def read(item: PendingItem) -> list[ReadFile | FailureRow]:
        begun = time.perf_counter()
        try:
            data = read_in_passing(stream, item.reference.to_read(), reading.max_bytes)
        except Exception as error:  # noqa: BLE001 - as in `read_image`
            return [not_read(item, error, run_started)]
        return [ReadFile(item, data, (time.perf_counter() - begun) * 1000)]

    # One thread takes them in order.
    pool = ThreadPoolExecutor(1, thread_name_prefix="inflate")
    return ReadAhead(read, _then_end(in_order, pool), pool, FILES_PER_READ * LOCAL_WIDTH)


def _then_end(items: Sequence[PendingItem], pool: ThreadPoolExecutor) -> Iterator[PendingItem]:
    """Items; when there are no more, the thread ends after the last of them."""
    try:
        yield from items
    finally:
        pool.shutdown(wait=False)


def _in_pieces(todo: Sequence[PendingItem], reading: Reading, run_started: datetime.datetime) -> ReadAhead[Any]:
    def read(piece: Piece) -> list[ReadFile | FailureRow]:
        begun = time.perf_counter()
        items = [todo[place] for place in piece.members]
        found = read_piece(
            [item.reference.to_read() for item in items],
            piece,
            reading.storage_options,
            reading.allow_private,
            reading.max_bytes,
        )
        msec = (time.perf_counter() - begun) * 1000 / len(items)
        return [
            not_read(item, outcome, run_started) if isinstance(outcome, Exception) else ReadFile(item, outcome, msec)
            for item, outcome in zip(items, found, strict=True)
        ]

    pieces = pieces_of([with_header(_member(item)) for item in todo])
    width = min(reading.io_threads or PIECES_AT_ONCE, PIECES_AT_ONCE)
    return ReadAhead(read, pieces, reading_pool(width), FILES_PER_READ * width, expected_bytes=PIECE_BYTES)
