"""How many images archives hold that nobody has listed, as a plan tells it: from the beginning of one of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.archives import list_archive
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.shards import bucket
from beamscribe.pipelines.work.work_item import UNREADABLE, ZIP, WorkItem

MOST_IMAGES, MOST_MEMBERS = 256, 4096
"""Of the archive that is looked into: enough for a sample, and no more is read than its beginning."""


class Archives(NamedTuple):
    """Archives that a job goes through.

    Attributes:
        number: of them.
        size: bytes of all of them.
        images: that they hold and that are not done, about.
        uri: of the one that was looked into.
        sample: images of that one.
    """

    number: int = 0
    size: int = 0
    images: int = 0
    uri: str = ""
    sample: Sequence[WorkItem] = ()


def look_into(containers: Sequence[Container], options: dict[str, Any]) -> Archives:
    """Tells how many images archives hold, if all of them are as the beginning of one.

    Args:
        containers: that are to be gone through.
        options: passed to fsspec.

    Raises:
        RefusedError: if the one cannot be read.
    """
    if not containers:
        return Archives()
    # As good as random, and the same every time.
    one = min(containers, key=lambda container: bucket(container.uri, 2**32))
    found: list[WorkItem] = []
    count, passed = 0, one.size
    try:
        for number, item in enumerate(list_archive(one.uri, one.kind, one.inside, options), 1):
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
    size = sum(container.size for container in containers)
    done = sum(container.slices * container.slice_size for container in containers)
    images = round(size * count / max(1, passed)) - done
    return Archives(len(containers), size, max(0, images), one.uri, found)
