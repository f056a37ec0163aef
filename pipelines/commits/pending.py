"""The Beam half of the skeleton: shards of what is to do in, receipts of new commits out."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsIter
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beamscribe.pipelines.commits.containers import commit_all
from beamscribe.pipelines.commits.part_files import replace_parts
from beamscribe.pipelines.commits.shard_lines import from_line, to_line
from beamscribe.pipelines.work.cores import prepare_interpreter, share_cores
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas import manifest
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import RowFormat
from beamscribe.schemas.stage_metrics import NOTHING
from beamscribe.storage.storage import Storage

PENDING = f"{manifest.FOLDER}/pending"
PART_SIZE = 10_000
"""Work items a stored part holds: the graph that goes to a runner names parts, not rows."""


class Job(Protocol):
    """A job: what featurize, caption and speak do differently."""

    @property
    def name(self) -> str:
        """The command's name."""
        ...

    @property
    def format(self) -> RowFormat:
        """How rows are stored."""
        ...

    @property
    def shards_at_once(self) -> int:
        """That a worker has in hand: of two, one keeps the model busy while the other ends or begins."""
        ...

    def stage_artifacts(self, output: Storage) -> "Job":
        """The same job for workers on other machines: what it needs is copied below the output."""
        ...

    def open(self, run: Run) -> Process:
        """Loads what the work needs, once a process, and returns the function that does a shard."""
        ...

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """What is suspicious about the rows of a finished output."""
        ...

    def tidy(self, output: Storage) -> None:
        """Removes what no row names any more, after rows were replaced."""
        ...


@runtime_checkable
class PreparedJob(Job, Protocol):
    """A job with something to do that several of its shards need."""

    def prepare(self, shards: PCollection[Shard], run: Run) -> PCollection[Any] | None:
        """Does it; no shard is committed before all of this is there. None if nothing is to be done."""
        ...


def write_pending(output: Storage, shards: Iterable[Shard]) -> list[str]:
    """Stores what is still to do below `_beamscribe/`, where workers read it; a line a shard.

    Returns:
        The parts' names.
    """
    # An engine may still work for a launcher that was killed: no file of its run ever becomes one of the next.
    parts = ((f"{hashlib.sha256(part).hexdigest()[:16]}.jsonl", part) for part in _parts(shards))
    return replace_parts(output, PENDING, parts)


def _parts(shards: Iterable[Shard]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    for shard in shards:
        lines.append(to_line(shard))
        size += len(shard.todo) or 1
        if size >= PART_SIZE:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


class Slice(NamedTuple):
    """Where a shard stands, which is shuffled in its place.

    Attributes:
        part: file below the output.
        start: first byte.
        size: bytes.
    """

    part: str
    start: int
    size: int


@dataclass
class ReadPending(beam.PTransform):
    """Parts of what is to do (names) → shards (`Shard`), spread over all workers.

    Attributes:
        output: of the job.
    """

    output: Storage

    def _slices(self, part: str) -> Iterator[Slice]:
        start = 0
        try:
            lines = self.output.read(part).splitlines(keepends=True)
        except FileNotFoundError as error:
            gone = f"{self.output.uri(part)} is gone: another command has done or replaced what this job was to do"
            raise FileNotFoundError(gone) from error
        for line in lines:
            yield Slice(part, start, len(line))
            start += len(line)

    def _shard(self, place: Slice) -> Shard:
        try:
            return from_line(self.output.read_range(*place))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{self.output.uri(place.part)} is damaged: {error}") from error

    def expand(self, input_or_inputs: PCollection[str]) -> PCollection[Shard]:
        """Builds the transform."""
        # Without the shuffle the worker that reads a part would do all of its shards.
        return (  # pyright: ignore[reportReturnType]
            input_or_inputs
            | "ShardPlan" >> beam.FlatMap(self._slices)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(self._shard)
        )


@dataclass
class CommitShards(beam.PTransform):
    """Shards (`Shard`) → receipts of what was committed (`Receipt`).

    Attributes:
        job: what to do with a shard.
        run: where and how to commit.
    """

    job: Job
    run: Run

    def expand(self, input_or_inputs: PCollection[Shard]) -> PCollection[Receipt]:
        """Builds the transform."""
        before = self.job.prepare(input_or_inputs, self.run) if isinstance(self.job, PreparedJob) else None
        # A side input is there as a whole before the first shard is given to a worker.
        waits_for = [] if before is None else [AsIter(before)]
        return input_or_inputs | "Commit" >> beam.ParDo(_CommitShard(self.job, self.run, Shared()), *waits_for)  # pyright: ignore[reportReturnType]


class _CommitShard(beam.DoFn):
    """Loads the model once a process, and only when there is a shard to do."""

    def __init__(self, job: Job, run: Run, shared: Shared) -> None:
        self._job = job
        self._run = run
        self._shared = shared

    def setup(self) -> None:
        # Nothing of a job has imported TensorFlow yet, and on other machines no launcher has seen to this.
        if self._run.processes is not None:
            share_cores(self._run.processes)
        prepare_interpreter()

    def start_bundle(self) -> None:
        self._threads = ThreadPoolExecutor(self._job.shards_at_once, thread_name_prefix="shard")
        self._in_hand: set[Future[list[Receipt]]] = set()

    def process(self, shard: Shard, waited_for: Any = None) -> Iterator[Receipt]:
        opened = self._shared.acquire(lambda: _Opened(self._job.open(self._run)))
        self._in_hand.add(self._threads.submit(commit_all, shard, opened.process, self._run))
        if len(self._in_hand) == self._job.shards_at_once:
            yield from self._done()

    def finish_bundle(self) -> Iterator[WindowedValue]:  # pyright: ignore[reportIncompatibleMethodOverride]
        while self._in_hand:
            for receipt in self._done():
                yield WindowedValue(receipt, MIN_TIMESTAMP, (GlobalWindow(),))
        self._threads.shutdown()

    def _done(self) -> Iterator[Receipt]:
        """Waits until a shard is done, and counts what it was."""
        done, self._in_hand = wait(self._in_hand, return_when=FIRST_COMPLETED)
        if any(future.exception() for future in done):
            # The runner may give the other shards to somebody else as soon as it knows, so they end first.
            self._threads.shutdown()
        for future in done:
            for receipt in future.result():
                self._count(receipt)
                yield receipt

    def _count(self, receipt: Receipt) -> None:
        """Tells the engine, under the job's class name; units are in the names."""
        job = type(self._job).__name__
        rows, failures = (len(file.ids) if file else 0 for file in (receipt.rows, receipt.failures))
        spent = receipt.spent or NOTHING
        counts = {"images": rows + failures, "rows": rows, "failures": failures}
        counts |= {f"failures_{stage}": count for stage, count in receipt.failed_stages}
        counts["written_bytes"] = sum(file.size for file in receipt.files)
        counts |= {name: value for name, value in spent._asdict().items() if not name.endswith("_msec")}
        spreads = {name: value for name, value in spent._asdict().items() if name.endswith("_msec")}
        spreads["shard_msec"] = receipt.seconds * 1000
        for name, value in counts.items():
            Metrics.counter(job, name).inc(value)
        for name, value in spreads.items():
            Metrics.distribution(job, name).update(round(value))


class _Opened:
    """Beam's `Shared` keeps weak references, which plain functions of a module do not need but closures do."""

    def __init__(self, process: Process) -> None:
        self.process = process
