"""How many images archives and tables hold that nobody has listed, as a plan tells it: from one of them."""

import heapq
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.container_listing import list_container
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableProcess
from beamscribe.pipelines.work.container import Container, noun_of
from beamscribe.pipelines.work.shards import bucket
from beamscribe.pipelines.work.work_item import PARQUET, UNREADABLE, ZIP, WorkItem

MOST_IMAGES, MOST_MEMBERS = 256, 4096
"""Of the archive that is looked into: enough for a sample, and no more is read than its beginning."""


MOST_TRIED = 3
"""That are looked into where one is damaged, or holds no image at its beginning."""


class Archives(NamedTuple):
    """Archives or tables that a job goes through.

    Attributes:
        number: of them.
        size: bytes of all of them.
        images: that they hold and that are not done, about.
        uri: of the one that was looked into.
        sample: images of that one.
        noun: what one of them is called.
    """

    number: int = 0
    size: int = 0
    images: int = 0
    uri: str = ""
    sample: Sequence[WorkItem] = ()
    noun: str = "archive"


def look_into(containers: Sequence[Container], options: dict[str, Any]) -> Archives:
    """Tells how many images containers hold, if all of them are as the beginning of one.

    Args:
        containers: that are to be gone through.
        options: passed to fsspec.

    Raises:
        RefusedError: if none of some can be read.
    """
    if not containers:
        return Archives()
    # As good as random, and the same every time.
    some = heapq.nsmallest(MOST_TRIED, containers, key=lambda container: bucket(container.uri, 2**32))
    refused: list[RefusedError] = []
    uri, count, passed = "", 0, 0
    found: list[WorkItem] = []
    for one in some:
        look = _look_into_table if one.kind == PARQUET else _look_into_archive
        try:
            found, count, passed = look(one, options)
        except RefusedError as error:
            refused.append(error)
            continue
        uri = one.uri
        if found:
            break
    if len(refused) == len(some):
        raise refused[0]
    size = sum(container.size for container in containers)
    done = sum(container.slices * container.slice_size for container in containers)
    images = round(size * count / max(1, passed)) - done
    return Archives(len(containers), size, max(0, images), uri, found, noun_of(containers))


def _look_into_table(one: Container, options: dict[str, Any]) -> tuple[list[WorkItem], int, int]:
    """Its first images, all its rows, which the metadata tells, and its bytes.

    Raises:
        RefusedError: if it cannot be read.
    """
    try:
        with TableProcess() as process:
            rows = sum(process.groups(Where.of(one.uri, options, allow_private=False)))
        some = itertools.islice(list_container(one, options), MOST_MEMBERS)
        items = (item for item in some if isinstance(item, WorkItem))
        images = (item for item in items if not item.member or item.member.kind != UNREADABLE)
        return list(itertools.islice(images, MOST_IMAGES)), rows, one.size
    except (OSError, ValueError) as error:
        raise RefusedError(f"--manifest {one.uri} cannot be read: {error}") from error


def _look_into_archive(one: Container, options: dict[str, Any]) -> tuple[list[WorkItem], int, int]:
    """Images of its beginning, their number, and the bytes that were passed.

    Raises:
        RefusedError: if it cannot be read.
    """
    found: list[WorkItem] = []
    count, passed = 0, one.size
    try:
        for number, item in enumerate(list_container(one._replace(beside=""), options), 1):
            if isinstance(item, WorkItem) and item.member and item.member.kind != UNREADABLE:
                count += 1
                if count <= MOST_IMAGES:
                    found.append(item)
                # The directory of a zip tells all of them.
                if one.kind != ZIP and (count == MOST_IMAGES or number >= MOST_MEMBERS):
                    # Photographs do not compress: in a compressed archive these bytes are about those of the file.
                    passed = item.member.start + item.member.size
                    break
    except OSError as error:
        raise RefusedError(f"--images {one.uri} cannot be read: {error}") from error
    return found, count, passed
