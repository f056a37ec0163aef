"""How far a job is, told from what it has committed."""

import datetime
from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.pipelines.commits.lease import read_holder
from beamscribe.pipelines.commits.ledger import Ledger, count_failures
from beamscribe.pipelines.commits.stored_corpus import read_ids
from beamscribe.pipelines.outputs.verify import format_of
from beamscribe.pipelines.runtime.summary import done_in, failure_lines
from beamscribe.pipelines.sources.asked import read_beyond
from beamscribe.pipelines.work.work_items import TEXT
from beamscribe.schemas.counted import counted
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.output_parts import OutputPart
from beamscribe.schemas.rows import FAILURES, read_failures
from beamscribe.storage.output_reader import OutputReader, manifest_of, read_done_part, read_manifest_of, read_parts
from beamscribe.storage.storage import Storage


class Status(NamedTuple):
    """How far a job is.

    Attributes:
        job: "featurize", "caption" or "speak".
        asked: distinct ids of the latest run's corpus.
        done: of these, ids with a row.
        failures: failure rows of the others.
        todo: ids with neither.
        repeated: references of the corpus beyond the first of their id.
        skipped: what its sources name and the run left out, counted by reason.
        writer: process and host that hold the output; None if no run does.
        this_run: images that the latest run has committed.
        a_second: images a second of the latest run, from its start to now, or to its last commit if it is over; None
            before its first commit.
        archives: and tables that are gone through without a list of their members, which count as soon as they are
            found.
        archives_read: of these, how many were read to their end.
        archive_bytes: of all of them.
        archive_bytes_read: of these; of a compressed tar or a table that is not read to its end none, of such a zip
            those of its images.
        noun: what one of them is called.
    """

    job: str
    asked: int
    done: int
    failures: list[FailureRow]
    todo: int
    repeated: int
    skipped: dict[str, int]
    writer: str | None
    this_run: int
    a_second: float | None
    archives: int = 0
    archives_read: int = 0
    archive_bytes: int = 0
    archive_bytes_read: int = 0
    noun: str = "archive"

    @property
    def unfinished(self) -> bool:
        """Whether something is left to do."""
        return self.todo > 0 or self.archives_read < self.archives

    @property
    def seconds_left(self) -> float | None:
        """Until nothing is left to do, if a run is going on and has committed something."""
        all_known = self.archives_read == self.archives
        return self.todo / self.a_second if self.writer and self.a_second and all_known else None

    def as_fields(self) -> dict[str, Any]:
        """As JSON can hold it: failures are counted by stage and type."""
        counts = sorted(count_failures(self.failures).items())
        failed = [{"stage": stage, "error_type": kind, "count": count} for (stage, kind), count in counts]
        fields = {name: value for name, value in self._asdict().items() if name != "noun"}
        return {**fields, "failures": failed, "failed": len(self.failures), "seconds_left": self.seconds_left}


def status(output: Storage) -> Status:
    """How far an output is, or all parts of one that is in parts.

    Raises:
        RefusedError: if the folder is no output of Beamscribe.
        ValueError: if the stored corpus, or a data file whose receipt is lost, is damaged.
    """
    parts = read_parts(output)
    if not parts:
        return _of_one(output)
    found = [_of_part(output, part) for part in parts if part.rows]
    latest = max(found, key=lambda one: (one.writer is not None, one.a_second is not None))
    holder = read_holder(output)
    skipped: Counter[str] = Counter()
    for one in found:
        skipped.update(one.skipped)
    return Status(
        job=latest.job,
        asked=sum(one.asked for one in found),
        done=sum(one.done for one in found),
        failures=[row for one in found for row in one.failures],
        todo=sum(one.todo for one in found),
        repeated=sum(one.repeated for one in found),
        skipped=dict(skipped),
        writer=str(holder) if holder and not holder.dead() else None,
        this_run=latest.this_run,
        a_second=latest.a_second,
    )


def _of_part(output: Storage, part: OutputPart) -> Status:
    """How far a part is: of one that is done the receipts need not be read."""
    below = output.below(part.name)
    manifest = read_manifest_of(below)
    if manifest is None:
        return Status("caption", part.rows, 0, [], part.rows, 0, {}, None, 0, None)
    done = read_done_part(output, part, format_of(manifest))
    # Without a record it may not have been listed again since more was asked for.
    unlisted = max(0, part.rows - manifest.listed)
    if done is None or unlisted:
        found = _of_one(below)
        return found._replace(asked=found.asked + unlisted, todo=found.todo + unlisted)
    names = [entry.name for entry in below.files(FAILURES.folder, FAILURES.suffix)] if done.failures else []
    failures = [
        row for name, data in zip(names, below.read_each(names), strict=True) for row in read_failures(data, name)
    ]
    if len(failures) != done.failures:
        # Some are of images that the latest command does not ask for.
        return _of_one(below)
    rows = done.references - len(failures)
    return Status(manifest.job, done.references, rows, failures, 0, done.repeated, {}, None, 0, None)


def _of_one(output: Storage) -> Status:
    """Reads receipts, failure rows and the stored corpus, and of data files those whose receipt is lost.

    Raises:
        RefusedError: if the folder is no output of Beamscribe.
        ValueError: if the stored corpus, or a data file whose receipt is lost, is damaged.
    """
    manifest = manifest_of(output)
    reader = OutputReader(output, manifest, format_of(manifest))
    beyond = read_beyond(output)
    asked = pa.chunked_array([read_ids(output), pa.array([item.id for item in beyond.items], TEXT)]).unique()
    receipts = reader.receipts()
    found = Ledger(output, reader.format).completion_of(asked, receipts)
    holder = read_holder(output)
    writer = str(holder) if holder and not holder.dead() else None
    this_run = done_in(manifest.run_started, receipts)
    # Receipts of merged outputs, and those of older versions, do not say when they were committed.
    ended = [one.committed_at for one in receipts if one.run_started == manifest.run_started and one.committed_at]
    a_second = None
    if this_run and (writer or ended):
        until = datetime.datetime.now(datetime.UTC) if writer else max(map(datetime.datetime.fromisoformat, ended))
        seconds = (until - datetime.datetime.fromisoformat(manifest.run_started)).total_seconds()
        a_second = this_run / max(seconds, 1e-3)
    return Status(
        job=manifest.job,
        asked=len(asked),
        done=found.rows,
        failures=found.failures,
        todo=len(found.todo),
        repeated=manifest.repeated,
        skipped=dict(Counter(manifest.skipped) + beyond.skipped),
        writer=writer,
        this_run=this_run,
        a_second=a_second,
        archives=beyond.containers,
        archives_read=beyond.whole,
        archive_bytes=beyond.bytes,
        archive_bytes_read=beyond.passed,
        noun=beyond.noun,
    )


def lines(found: Status) -> list[str]:
    """The status for people."""
    told = [
        f"{found.job}: {found.asked:,} in the corpus",
        f"{found.done:>12,} done",
        f"{len(found.failures):>12,} failed",
        *(f"{'':>12}   {line}" for line in failure_lines(found.failures)),
        f"{found.todo:>12,} to do",
    ]
    if found.archives_read < found.archives:
        told.append(
            f"{found.archives - found.archives_read:>12,} of {counted(found.archives, found.noun)} not read to "
            f"their end, {found.archive_bytes_read / 1e9:,.1f} of {found.archive_bytes / 1e9:,.1f} GB read"
        )
    if found.repeated:
        told.append(f"{found.repeated:>12,} repeated")
    if found.skipped:
        told.append(f"{sum(found.skipped.values()):>12,} skipped")
        told += [f"{'':>12}   {count} × {reason}" for reason, count in sorted(found.skipped.items())]
    if found.writer:
        left = found.seconds_left
        rate = f"{found.a_second:.1f} images a second" if found.a_second else "nothing committed yet"
        time = f", {datetime.timedelta(seconds=round(left))} left" if left is not None else ""
        told.append(f"running: {found.writer}, {rate}{time}")
    else:
        rate = f"; the latest run did {found.this_run:,}, {found.a_second:.1f} a second" if found.a_second else ""
        told.append(f"not running{rate}")
    return told
