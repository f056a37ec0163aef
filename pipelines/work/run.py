"""One run of a job: where its rows go, and what it does with a shard."""

import datetime
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas.limits import STALL_TIMEOUT_SECONDS
from beamscribe.schemas.rows import RowFormat
from beamscribe.storage.storage import Storage

Process = Callable[[Shard], Iterable[Any]]
"""What a job does with a shard: yields one row or one `FailureRow` for each reference, in any order, and between them
`StageMetrics` where it measures."""


class EndedEarlyError(OSError):
    """The rest of a shard cannot be done now: what was done of it is committed, and the job stops."""


class ContainerUnreadError(OSError):
    """A container cannot be read to its end now: what was committed of it stays, and a later run goes on there."""


@runtime_checkable
class GoesThroughContainers(Protocol):
    """A `Process` that takes containers whose members nobody has listed."""

    def __call__(self, shard: Shard) -> Iterable[Any]:
        """See `Process`."""
        ...

    def container_shards(self, container: Container) -> Generator[Shard, None, None]:
        """Shards of it, one after the other: each is committed before the next is asked for.

        Raises:
            ContainerUnreadError: if it cannot be read to its end.
        """
        ...


@runtime_checkable
class KnowsCommits(Protocol):
    """A `Process` that keeps something until the rows of a shard are committed."""

    def committed(self, shard: Shard) -> None:
        """The shard, as far as it was done, is committed."""
        ...


class Run(NamedTuple):
    """What a commit needs to know of its run.

    Attributes:
        output: folder of the job's output.
        format: how rows are stored.
        fingerprint: digest of what can change a row.
        started: the run's start, from the launcher's clock.
        stall_timeout_seconds: how long a shard may make no progress.
        processes: of the job on each machine, which share its cores; 0 for one a core, None for who has seen to that.
    """

    output: Storage
    format: RowFormat
    fingerprint: str
    started: datetime.datetime
    stall_timeout_seconds: float = STALL_TIMEOUT_SECONDS
    processes: int | None = None
