"""How a job's workers come by a captioner, and what of it the job has to know."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from beamscribe.model.captioner_interface import Captioner, load_captioner_class
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.storage.storage import Storage


class CaptionerSource(Protocol):
    """Small and picklable; `open` loads the captioner, once a process."""

    @property
    def batch_size(self) -> int:
        """Images that a call takes."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls in each process at a time."""
        ...

    def stage_artifacts(self, output: Storage) -> "CaptionerSource":
        """For workers on other machines: what it needs is copied below the output."""
        ...

    def open(self, run: Run) -> Captioner:
        """Loads the captioner."""
        ...


@runtime_checkable
class KeepsAnswers(Protocol):
    """A captioner that is paid by the answer, and keeps answers until their rows are committed."""

    def begin(self, shard: Shard) -> None:
        """A shard is about to be done."""
        ...

    def committed(self, shard: Shard) -> None:
        """Its rows are committed."""
        ...


class Statement(NamedTuple):
    """What a captioner that is paid for tells of an output.

    Attributes:
        lines: for the summary.
        exhausted: why this run stopped for want of money; empty if it did not.
        warnings: what is suspicious.
    """

    lines: tuple[str, ...] = ()
    exhausted: str = ""
    warnings: tuple[str, ...] = ()


@runtime_checkable
class PaidSource(Protocol):
    """A source whose captioner costs money or tokens."""

    def statement(self, output: Storage, run_started: str) -> Statement:
        """What was spent on an output."""
        ...

    def forecast(self, output: Storage, todo: int) -> list[str]:
        """What the images that are still to do will cost, judged by the answers that there are."""
        ...


@dataclass(frozen=True)
class ClassSource:
    """A captioner of a user's own class.

    Attributes:
        name: `package.module:Class`.
        batch_size: images that a call takes.
    """

    name: str
    batch_size: int
    calls_at_once: int = 1

    def stage_artifacts(self, output: Storage) -> "ClassSource":
        """The same: the class is installed on every worker."""
        return self

    def open(self, run: Run) -> Captioner:
        """Makes the captioner."""
        return load_captioner_class(self.name)
