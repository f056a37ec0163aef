"""A job without a model: every outcome can be told by hand from the id."""

import datetime
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import caption_row
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import FAILURES, ParquetRows, read_failures
from beamscribe.storage.storage import Storage

ROWS = ParquetRows(caption_row.FOLDER, caption_row.SCHEMA, caption_row.VERSION)
START = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
FINGERPRINT = "00112233aabbccdd"


@dataclass(frozen=True)
class FakeJob:
    """Captions image "7" as "7 in STYLE" and fails where it is told to.

    Attributes:
        failing: ids that become failure rows.
        style: what a fingerprint stands for.
        crash_after: shards after which processing raises, as a bug or a full disk would.
        suspicious: its warnings.
        naps_seconds: what each image takes.
        log: file that notes "open" and the ids of each shard, across whatever processes Beam uses.
    """

    failing: frozenset[str] = frozenset()
    style: str = "oil"
    crash_after: int | None = None
    suspicious: tuple[str, ...] = ()
    log: str = os.devnull
    name: str = "caption"
    shards_at_once: int = 1
    format: ParquetRows = field(default_factory=lambda: ROWS)
    naps_seconds: float = 0.0

    def stage_artifacts(self, output: Storage) -> "FakeJob":
        return self

    def open(self, run: Run) -> Process:
        self._note("open")
        shards = 0

        def process(shard: Shard) -> Iterator[CaptionRow | FailureRow]:
            nonlocal shards
            if shards == self.crash_after:
                raise RuntimeError("the fake job crashed")
            shards += 1
            self._note(" ".join(item.reference.id for item in shard.todo))
            for item in shard.todo:
                time.sleep(self.naps_seconds)
                if item.reference.id in self.failing:
                    yield failure(item, "read", "FakeError", f"cannot read {item.reference.id}", run.started)
                else:
                    yield caption(item.reference, self.style, run)._replace(kept=item.kept)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        return list(self.suspicious)

    def tidy(self, output: Storage) -> None:
        self._note("tidied")

    def _note(self, line: str) -> None:
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def caption(reference: WorkItem, style: str, run: Run) -> CaptionRow:
    text = f"{reference.id} in {style}"
    return CaptionRow(
        image_uri=reference.uri,
        id=reference.id,
        sha256=hashlib.sha256(reference.id.encode()).hexdigest(),
        width=640,
        height=480,
        caption=text,
        flags=(),
        score=-1.5,
        alternatives=(Alternative(text, -1.5),),
        repairs=("exif-orientation",),
        fingerprint=run.fingerprint,
        run_started=run.started,
    )


def noted(log: str) -> list[str]:
    """What a job noted: "open", or the ids of a shard."""
    if not os.path.exists(log):
        return []
    with open(log, encoding="utf-8") as file:
        return file.read().splitlines()


def reference(id: str) -> WorkItem:
    return WorkItem(id, f"file:///photos/{id}.jpg")


def references(*ids: str) -> tuple[WorkItem, ...]:
    return tuple(reference(id) for id in ids)


def shard(name: str, *ids: str, attempts: int = 0) -> Shard:
    return Shard(name, tuple(PendingItem(reference(id), attempts) for id in ids))


def run_of(output: Storage, fingerprint: str = FINGERPRINT, started: datetime.datetime = START) -> Run:
    return Run(output, ROWS, fingerprint, started)


def contents(output: Storage) -> dict[str, bytes]:
    """Every file of an output but the lease, with its bytes."""
    folders = (ROWS.folder, FAILURES.folder, "_beamscribe", "_beamscribe/shards", "_beamscribe/corpus")
    return {entry.name: output.read(entry.name) for folder in folders for entry in output.files(folder)}


def captions_of(output: Storage) -> list[tuple[str, str]]:
    """Ids and captions of all data files, sorted; an id in two files is there twice."""
    pairs: list[tuple[str, str]] = []
    for entry in output.files(ROWS.folder):
        table = ROWS.read(output.read(entry.name), entry.name)
        pairs += zip(table["id"].to_pylist(), table["caption"].to_pylist(), strict=True)
    return sorted(pairs)


def failures_of(output: Storage) -> list[FailureRow]:
    rows = [row for entry in output.files(FAILURES.folder) for row in read_failures(output.read(entry.name), "")]
    return sorted(rows, key=lambda row: (row.id, row.run_started))


def attempts_of(output: Storage) -> list[tuple[str, int]]:
    """Ids and attempts of all failure files, sorted."""
    return [(row.id, row.attempts) for row in failures_of(output)]
