"""Commits a container slice by slice."""

import contextlib
import sys

from beamscribe.pipelines.commits.liveness import commit_watched
from beamscribe.pipelines.work.run import ContainerUnreadError, GoesThroughContainers, Process, Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import Receipt


def commit_all(shard: Shard, process: Process, run: Run) -> list[Receipt]:
    """Commits a shard, or all that is to do of a container.

    A container that cannot be read to its end keeps nothing else from being done: what was committed of it stays, and
    its rest is still to do.

    Args:
        shard: what to do.
        process: does it.
        run: where and how to commit.

    Returns:
        The receipts.

    Raises:
        TypeError: if `process` takes no containers.
        OSError: if the output cannot be written.
    """
    if shard.container is None:
        return [commit_watched(shard, process, run)]
    if not isinstance(process, GoesThroughContainers):
        raise TypeError(f"{type(process).__name__} takes no container whose members are not listed")
    receipts: list[Receipt] = []
    try:
        with contextlib.closing(process.container_shards(shard.container)) as parts:
            for part in parts:
                receipts.append(commit_watched(part, process, run))
    except ContainerUnreadError as error:
        print(printable(f"beamscribe: {error}"), file=sys.stderr, flush=True)
    return receipts
