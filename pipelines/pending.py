"""The Beam half of the skeleton: references and commits in, receipts of new commits out."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from model.storage import Storage
from pipelines.commit import Process, Receipt, Run
from pipelines.corpus import Reference
from pipelines.ledger import Ledger
from pipelines.rows import RowFormat
from pipelines.shards import Committed, Shard, Todo, bucket, make_shard, shard_name, subtract
from pipelines.watchdog import commit_watched
from schemas import manifest
from schemas.coco import CocoCaption

CORPUS = f"{manifest.FOLDER}/corpus"
PART_SIZE = 10_000
"""References a part of the stored corpus holds: the element that Beam hands to a worker is a part, not a row."""


class Job(Protocol):
    """The heart of a job: what featurize, caption and speak do differently."""

    @property
    def name(self) -> str:
        """The command's name."""
        ...

    @property
    def format(self) -> RowFormat:
        """How rows are stored."""
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


def write_corpus(output: Storage, references: Iterable[Reference]) -> list[str]:
    """Stores the references below `_beamscribe/`, so that workers and `verify` see what was asked.

    Returns:
        The parts' names.
    """
    items = list(references)
    names = []
    for start in range(0, len(items), PART_SIZE):
        name = f"{CORPUS}/{start // PART_SIZE:05d}.json"
        output.write(name, json.dumps(items[start : start + PART_SIZE], ensure_ascii=False).encode())
        names.append(name)
    for entry in output.files(CORPUS, ".json"):
        if entry.name not in names:
            output.delete(entry.name)
    return names


def read_part(output: Storage, name: str) -> list[Reference]:
    """The references of a stored part.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        return [
            Reference(*fields)._replace(captions=tuple(CocoCaption(*caption) for caption in fields[3]))
            for fields in json.loads(output.read(name))
        ]
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{output.uri(name)} is damaged: {error}") from error


@dataclass
class PendingShards(beam.PTransform):
    """Parts of the corpus (names) → shards of what is still to do (`Shard`).

    Only references cross the shuffles, first by id to subtract what is committed, then by shard.

    Attributes:
        ledger: of the output.
        receipts: names of the receipts that count.
        shards: number that loose references are hashed into.
        retry_failed: whether ids with a failure row are to be done again.
    """

    ledger: Ledger
    receipts: list[str]
    shards: int
    retry_failed: bool

    def _references(self, part: str) -> Iterator[tuple[int, Reference]]:
        for reference in read_part(self.ledger.output, part):
            yield bucket(reference.id, self.shards), reference

    def _committed(self, name: str) -> Iterator[tuple[int, Committed]]:
        receipt = Receipt.from_json(self.ledger.output.read(name))
        for item in self.ledger.committed(receipt):
            yield bucket(item.id, self.shards), item

    def _subtract(self, key: int, sides: dict[str, Iterable[Any]]) -> Iterator[tuple[str, Todo]]:
        for todo in subtract(sides["references"], sides["committed"], self.retry_failed):
            yield shard_name(todo.reference, self.shards), todo

    def expand(self, parts: PCollection[str]) -> PCollection[Shard]:
        """Builds the transform."""
        committed = (
            parts.pipeline
            | "Receipts" >> beam.Create(self.receipts, reshuffle=False)
            | "ReadCommitted" >> beam.FlatMap(self._committed)
        )
        references = parts | "ReadReferences" >> beam.FlatMap(self._references)
        return (
            {"references": references, "committed": committed}
            | "MeetById" >> beam.CoGroupByKey()
            | "Subtract" >> beam.FlatMapTuple(self._subtract)
            | "GroupByShard" >> beam.GroupByKey()
            | "MakeShard" >> beam.MapTuple(make_shard)
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

    def expand(self, shards: PCollection[Shard]) -> PCollection[Receipt]:
        """Builds the transform."""
        return shards | "Commit" >> beam.ParDo(_CommitShard(self.job, self.run, Shared()))


class _CommitShard(beam.DoFn):
    """Loads the model once a process, and only when there is a shard to do."""

    def __init__(self, job: Job, run: Run, shared: Shared) -> None:
        self._job = job
        self._run = run
        self._shared = shared
        self._rows = Metrics.counter(type(job).__name__, "rows")
        self._failures = Metrics.counter(type(job).__name__, "failures")
        self._bytes = Metrics.counter(type(job).__name__, "bytes")
        self._msec = Metrics.distribution(type(job).__name__, "shard_msec")

    def process(self, shard: Shard) -> Iterator[Receipt]:
        opened = self._shared.acquire(lambda: _Opened(self._job.open(self._run)))
        receipt = commit_watched(shard, opened.process, self._run)
        self._rows.inc(len(receipt.rows.ids) if receipt.rows else 0)
        self._failures.inc(len(receipt.failures.ids) if receipt.failures else 0)
        self._bytes.inc(receipt.rows.size if receipt.rows else 0)
        self._msec.update(int(receipt.seconds * 1000))
        yield receipt


class _Opened:
    """Beam's `Shared` keeps weak references, which plain functions of a module do not need but closures do."""

    def __init__(self, process: Process) -> None:
        self.process = process
