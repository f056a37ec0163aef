"""Commits a shard: a tar of its images if asked for, rows, failures, then a receipt, each whole or not at all."""

import datetime
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from beamscribe.pipelines.commits.staged_lease import confirm_lease
from beamscribe.pipelines.work.run import EndedEarlyError, KnowsCommits, Process, Run
from beamscribe.pipelines.work.shards import Shard, asked_digest
from beamscribe.pipelines.work.stopwatch import Stopwatch
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import captions_digest
from beamscribe.schemas.receipt import FileStamp, Receipt, stamp
from beamscribe.schemas.rows import FAILURES, encode_all, tarred_rows
from beamscribe.schemas.sample_tar import tar_of
from beamscribe.schemas.stage_metrics import StageMetrics, total
from beamscribe.storage.critical_section import critical_section
from beamscribe.storage.storage import Storage


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

    data, tar = encode_all(run.format, rows())
    passed = shard.passing.finish() if shard.passing else None
    todo = passed.todo if passed else shard.todo
    asked = [item.reference.id for item in todo]
    made_of: dict[str, str] = {}
    if run.format.holds_captions:
        made_of = {item.reference.id: captions_digest(item.reference.captions) for item in todo}
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
        if passed:
            # Before its rows, so that no row is of an image that nobody has asked for.
            run.output.write(passed.name, passed.listing)
        # A duplicate bundle may end otherwise than its twin. The twin's receipt goes first, so that a kill between two
        # files leaves no receipt of files which are no longer there.
        receipt = Receipt(stem, run.fingerprint, run.started.isoformat(), seconds, None, None)
        run.output.delete(receipt.name)
        receipt = receipt._replace(
            # Before the rows, so that what has rows has the images too.
            tar=_put_tar(run.output, tar_of(stem), tar) if tarred_rows(run.format) else None,
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
        # A slice may hold no image.
        if done or not passed:
            run.output.write(receipt.name, receipt.to_json())
    if isinstance(process, KnowsCommits):
        process.committed(shard._replace(todo=tuple(item for item in todo if item.reference.id in set(done))))
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


def _put_tar(output: Storage, name: str, data: bytes) -> FileStamp | None:
    """Writes the tar beside a file of rows, replacing its twin; without rows there is none."""
    if not data:
        output.delete(name)
        return None
    output.write(name, data)
    return stamp(name, data, ())
