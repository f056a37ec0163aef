"""Commits a shard: rows, then failures, then a receipt, each file whole or not at all."""

import datetime
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from beamscribe.pipelines.commits.lease import confirm_lease
from beamscribe.pipelines.work.run import EndedEarlyError, KnowsCommits, Process, Run
from beamscribe.pipelines.work.shards import Shard, asked_digest
from beamscribe.pipelines.work.stage_metrics import StageMetrics, Stopwatch, total
from beamscribe.schemas import manifest
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import captions_digest
from beamscribe.schemas.rows import FAILURES
from beamscribe.schemas.shapes import check_shape
from beamscribe.storage.critical_section import critical_section
from beamscribe.storage.storage import Storage

RECEIPTS = f"{manifest.FOLDER}/shards"


class FileStamp(NamedTuple):
    """A committed file as it was written.

    Attributes:
        name: below the output.
        size: bytes.
        sha256: of the bytes, lower-case hexadecimal.
        ids: of its rows.
        made_of: of each row the digest of the captions that it holds; none where rows hold no captions, and in older
            receipts.
    """

    name: str
    size: int
    sha256: str
    ids: tuple[str, ...]
    made_of: tuple[str, ...] = ()


class Receipt(NamedTuple):
    """What one commit wrote; the data files are the truth, a lost receipt is made again from them.

    Attributes:
        stem: name that the commit's files share, shard id + digest of what was asked.
        fingerprint: digest under which it was computed.
        run_started: ISO 8601, UTC, of the run that wrote it; empty in a receipt that was made again from the files.
        seconds: time that processing took.
        rows: the data file; None if every reference failed.
        failures: the failure file; None if no reference failed.
        spent: what the stages took; None in older receipts, and in those made again.
        committed_at: ISO 8601, UTC, by the worker's clock; for telling how fast a job is, nothing depends on it.
        failed_stages: in which images failed, and how many did; none in older receipts, and in those made again.
    """

    stem: str
    fingerprint: str
    run_started: str
    seconds: float
    rows: FileStamp | None
    failures: FileStamp | None
    committed_at: str = ""
    spent: StageMetrics | None = None
    failed_stages: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """The receipt's own file below the output."""
        return f"{RECEIPTS}/{self.stem}.json"

    def to_json(self) -> bytes:
        """The receipt as JSON."""
        fields = self._asdict()
        for part in ("rows", "failures", "spent"):
            found: FileStamp | StageMetrics | None = fields[part]
            fields[part] = found._asdict() if found else None
            if isinstance(found, FileStamp) and not found.made_of:
                del fields[part]["made_of"]
        return json.dumps(fields).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Receipt":
        """Reads a receipt back.

        Raises:
            ValueError: if it is not one.
        """
        try:
            fields = json.loads(data)
            for part in ("rows", "failures"):
                if fields[part] is not None:
                    fields[part] = FileStamp(**{**fields[part], "ids": tuple(fields[part]["ids"])})
                    fields[part] = fields[part]._replace(made_of=tuple(fields[part].made_of))
            if fields.get("spent"):
                fields["spent"] = StageMetrics(**fields["spent"])
            fields["failed_stages"] = tuple((stage, count) for stage, count in fields.get("failed_stages", ()))
            found = cls(**fields)
            check_shape(found, cls)
            for moment in (found.run_started, found.committed_at):
                if moment and datetime.datetime.fromisoformat(moment).tzinfo is None:
                    raise TypeError(f"{moment} has no time zone")
            return found
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a receipt: {error}") from error


def stamp(name: str, data: bytes, ids: Iterable[str], made_of: Iterable[str] = ()) -> FileStamp:
    """Describes the bytes of a committed file."""
    return FileStamp(name, len(data), hashlib.sha256(data).hexdigest(), tuple(ids), tuple(made_of))


def commit_shard(
    shard: Shard, process: Process, run: Run, heartbeat: Callable[[int], None] = lambda items: None
) -> Receipt:
    """Processes a shard and commits what came out.

    Args:
        shard: what to do.
        process: yields one row or `FailureRow` for each reference.
        run: where and how to commit.
        heartbeat: called whenever something is done, with the number of references that are done with it.

    Returns:
        The receipt, which is committed last.

    Raises:
        OSError: if the output cannot be written; nothing is half written.
        LeaseLostError: if the run does not hold the output any more.
        RunStoppedError: if the run was stopped.
        RuntimeError: if `process` lost or invented a reference.
        EndedEarlyError: of `process`, after what it has done is committed.
    """
    begun = time.monotonic()
    asked = [item.reference.id for item in shard.todo]
    made_of: dict[str, str] = {}
    if run.format.holds_captions:
        made_of = {item.reference.id: captions_digest(item.reference.captions) for item in shard.todo}
    row_ids: list[str] = []
    failed: list[FailureRow] = []
    spent: list[StageMetrics] = []
    rows_alone = Stopwatch()
    ended: list[EndedEarlyError] = []

    def rows() -> Iterator[Any]:
        outcomes = iter(process(shard))
        while True:
            with rows_alone.running():
                try:
                    outcome = next(outcomes, None)
                except EndedEarlyError as error:
                    ended.append(error)
                    return
            if outcome is None:
                return
            heartbeat(0 if isinstance(outcome, StageMetrics) else 1)
            if isinstance(outcome, StageMetrics):
                spent.append(outcome)
            elif isinstance(outcome, FailureRow):
                failed.append(outcome)
            else:
                row_ids.append(outcome.id)
                yield outcome

    data = run.format.encode(rows())
    done = row_ids + [row.id for row in failed]
    if ended:
        if not done:
            raise ended[0]
        asked = [id for id in asked if id in set(done)]
    if sorted(done) != sorted(asked):
        raise RuntimeError(f"shard {shard.name}: {len(row_ids)} rows and {len(failed)} failures of {len(asked)} ids")
    # Other captions of the same images are another thing to ask.
    stem = f"{shard.name}-{asked_digest(run.fingerprint, (f'{id}{made_of.get(id, str())}' for id in asked))}"
    seconds = time.monotonic() - begun
    writing = time.monotonic()
    encode_msec = seconds * 1000 - rows_alone.msec
    with critical_section(run.output.run, fence=lambda: confirm_lease(run.output)):
        confirm_lease(run.output)
        # A duplicate bundle may end otherwise than its twin. The twin's receipt goes first, so that a kill between two
        # files leaves nothing that speaks for files which are no longer there.
        receipt = Receipt(stem, run.fingerprint, run.started.isoformat(), seconds, None, None)
        run.output.delete(receipt.name)
        receipt = receipt._replace(
            rows=_put(run.output, f"{run.format.folder}/{stem}{run.format.suffix}", data, row_ids, made_of),
            failures=_put(
                run.output,
                f"{FAILURES.folder}/{stem}{FAILURES.suffix}",
                FAILURES.encode(failed),
                [row.id for row in failed],
            ),
            committed_at=datetime.datetime.now(datetime.UTC).isoformat(),
            failed_stages=tuple(sorted(Counter(row.stage for row in failed).items())),
        )
        write_msec = encode_msec + (time.monotonic() - writing) * 1000
        receipt = receipt._replace(spent=total([*spent, StageMetrics(write_msec=write_msec)]))
        run.output.write(receipt.name, receipt.to_json())
    if isinstance(process, KnowsCommits):
        process.committed(shard._replace(todo=tuple(item for item in shard.todo if item.reference.id in set(done))))
    if ended:
        raise ended[0]
    return receipt


def _put(
    output: Storage, name: str, data: bytes, ids: Sequence[str], made_of: Mapping[str, str] | None = None
) -> FileStamp | None:
    """Writes a file of rows, replacing its twin; a file without rows is none."""
    if not ids:
        output.delete(name)
        return None
    output.write(name, data)
    return stamp(name, data, ids, (made_of[id] for id in ids) if made_of else ())
