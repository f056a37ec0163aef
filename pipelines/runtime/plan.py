"""`--plan`: what a job would take, forecast from a sample of its corpus; nothing is left behind."""

import datetime
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import psutil
from apache_beam.options.pipeline_options import StandardOptions

from beamscribe.errors import CHECK_FAILED, DONE
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.pending import Job
from beamscribe.pipelines.runtime.free_space import check_writable
from beamscribe.pipelines.runtime.plan_archives import look_into
from beamscribe.pipelines.runtime.summary import failure_lines
from beamscribe.pipelines.runtime.unlisted import Unlisted
from beamscribe.pipelines.sources.kept_rows import KeptRows
from beamscribe.pipelines.speech.spoken import normalize_text
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import PendingItem, Shard, bucket, shard_count, shard_name
from beamscribe.schemas.counted import counted
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.rows import encode_all, tarred_rows
from beamscribe.schemas.stage_metrics import StageMetrics
from beamscribe.storage.storage import Storage

if TYPE_CHECKING:
    from beamscribe.pipelines.runtime.request import Request

SAMPLE_SECONDS = 10.0
"""For the part of the sample that is done against the clock; with loading and warming up a plan takes half a minute."""

WARM_UP = 32
"""Items of a job without batches that are done before the clock starts: engines are slow at first."""

LAUNCH_SECONDS = 3.0
"""What Beam takes to begin and to end a job on this machine: an empty pipeline, measured."""


@runtime_checkable
class Budgeted(Protocol):
    """A job whose service may be asked only so often: it is forecast from that, and no sample is spent on it."""

    @property
    def requests_per_minute(self) -> float | None:
        """None: as often as it likes."""
        ...


class Sample(NamedTuple):
    """What doing a part of the corpus took.

    Attributes:
        opening_seconds: to load what the job needs, and to warm up beyond what the same items take later.
        timed: items that were done against the clock.
        seconds: that they took.
        core_seconds: of all cores together, for one item; 0 where there were too few to tell.
        items: all that were done, those of the warm-up too.
        row_bytes: of the row of one item, and its image where that is written, as far as pieces of this size tell.
        file_bytes: of other files that were written for them.
        files: number of these.
        failures: of the items.
    """

    opening_seconds: float
    timed: int
    seconds: float
    core_seconds: float
    items: int
    row_bytes: float
    file_bytes: int
    files: int
    failures: tuple[FailureRow, ...]


class Forecast(NamedTuple):
    """What the rest of a job would take on this machine.

    Attributes:
        seconds: from typing the command to its end.
        a_second: items, once it is going; None where there were too few to tell.
        core_hours: of this machine's cores.
        bytes: that it writes.
        files: that it writes.
    """

    seconds: float
    a_second: float | None
    core_hours: float
    bytes: int
    files: int


Kept = KeptRows | None


class _Work:
    """Does pieces of the work without committing them, and counts what comes out."""

    def __init__(self, job: Job, process: Process, todo: Sequence[PendingItem], shard_size: int, columns: Kept) -> None:
        self._job, self._process, self._shard_size, self._columns = job, process, shard_size, columns
        self._rest = list(todo)
        self.items = self._largest = 0
        self.row_bytes = 0.0
        self.failures: list[FailureRow] = []

    def do(self, size: int) -> tuple[int, float]:
        """Does the next items, or a shard of the next container, and tells how many and in how many seconds."""
        if self._rest and (container := self._rest[0].reference.container):
            piece = [item for item in self._rest if item.reference.container == container][: self._shard_size]
            done = {item.reference.id for item in piece}
            self._rest = [item for item in self._rest if item.reference.id not in done]
        else:
            piece, self._rest = self._rest[:size], self._rest[size:]
        if not piece:
            return 0, 0.0
        begun = time.monotonic()
        shard = Shard("plan", tuple(piece))
        rows = self._rows(self._columns.filled(shard) if self._columns else shard)
        size = sum(map(len, encode_all(self._job.format, rows)))
        self.items += len(piece)
        # Rows of a larger file take less space each, and the job's are as large as they get.
        if len(piece) >= self._largest:
            self._largest, self.row_bytes = len(piece), size / len(piece)
        return len(piece), time.monotonic() - begun

    def _rows(self, shard: Shard) -> Iterator[object]:
        for outcome in self._process(shard):
            if isinstance(outcome, FailureRow):
                self.failures.append(outcome)
            elif not isinstance(outcome, StageMetrics):
                yield outcome


def take_sample(
    job: Job, todo: Sequence[PendingItem], shard_size: int, seconds: float = SAMPLE_SECONDS, columns: Kept = None
) -> Sample:
    """Does a part of the work in a folder of its own, which is removed again.

    Args:
        job: what is planned.
        todo: in the order in which to take them.
        shard_size: items at most that are done as one piece, as in the job itself.
        seconds: that the timed part should take.
        columns: that are kept of the source.
    """
    with tempfile.TemporaryDirectory(prefix="beamscribe-plan-") as folder:
        begun = time.monotonic()
        run = Run(Storage(folder), job.format, "plan", datetime.datetime.now(datetime.UTC))
        work = _Work(job, job.open(run), todo, shard_size, columns)
        few = getattr(job, "batch_size", WARM_UP)
        first, _ = work.do(few)
        opening = time.monotonic() - begun
        cores, done = psutil.Process().cpu_times(), work.items
        timed, taken = work.do(few)
        if timed:
            piece = min(shard_size, max(1, int(seconds * timed / taken / few)) * few)
            # What the first few took is known less well than what whole pieces take.
            whole, whole_taken = work.do(piece)
            while whole and whole_taken < seconds and (more := work.do(piece))[0]:
                whole, whole_taken = whole + more[0], whole_taken + more[1]
            timed, taken = (whole, whole_taken) if whole else (timed, taken)
            opening = max(0.0, opening - first * taken / timed)
        after, measured = psutil.Process().cpu_times(), work.items - done
        written = [entry.size for entry in run.output.walk("") if not entry.name.endswith(".tmp")]
        return Sample(
            opening_seconds=opening,
            timed=timed,
            seconds=taken,
            core_seconds=(after.user + after.system - cores.user - cores.system) / measured if measured else 0.0,
            items=work.items,
            row_bytes=work.row_bytes,
            file_bytes=sum(written),
            files=len(written),
            failures=tuple(work.failures),
        )


def forecast(sample: Sample, items: int, references: int, shards: int, before_seconds: float) -> Forecast:
    """What a corpus takes, from what a part of it took.

    Args:
        sample: of it.
        items: to do: texts where references share them, else references.
        references: to do.
        shards: that they are committed in.
        before_seconds: that the command takes before the job is opened.
    """
    every = sample.seconds / sample.timed if sample.timed else 0.0
    some = max(1, sample.items)
    return Forecast(
        seconds=before_seconds + sample.opening_seconds + every * items,
        a_second=1 / every if every else None,
        core_hours=sample.core_seconds * items / 3600,
        bytes=round(sample.row_bytes * references + sample.file_bytes / some * items),
        # A file of rows and a receipt for each shard.
        files=round(sample.files / some * items) + 2 * shards,
    )


def seconds_running() -> float:
    """Since this process began: what a job takes before it begins is what its plan took."""
    return time.time() - psutil.Process().create_time()


def plan(request: "Request", kept: Sequence[str]) -> int:
    """Tells what a request would take.

    Args:
        request: of the job.
        kept: fingerprints under which rows count as done.

    Returns:
        0, or 3 if the output has too little space.

    Raises:
        RefusedError: if the output cannot be written, or an archive cannot be read.
    """
    before = seconds_running() + LAUNCH_SECONDS
    name = f"beamscribe {request.job.name}"
    ledger = Ledger(request.output, request.job.format)
    receipts = ledger.receipts()
    known = Unlisted(request, receipts).look()
    archives = look_into(known.unfinished, request.flags.storage_options)
    corpus = known.corpus.references
    found = ledger.completion_of(corpus.ids, [one for one in receipts if one.fingerprint in kept])
    todo = [PendingItem(one) for one in corpus.take(found.pending(request.flags.retry_failed))]
    free = check_writable(request.output)
    items = list({one.reference.group or one.reference.id: one for one in map(_alone, todo)}.values())
    count = shard_count(len(corpus), request.flags.shard_size)
    shards = len({shard_name(item.reference, count, request.flags.shard_size) for item in todo})
    others = request.others
    shards += (archives.images + others.todo) // request.flags.shard_size + archives.number
    images = len(todo) + archives.images + others.todo
    about = "about " if archives.number or others.todo else ""
    print(f"{name}: {about}{images:,} of {len(corpus) + archives.images + others.images:,} to do")
    if archives.number:
        print(
            f"{f'{archives.noun}s':>12}  {counted(archives.number, archives.noun)}, {archives.size / 1e9:,.1f} GB, "
            f"with as many images as the first {len(archives.sample):,} of {archives.uri} let expect"
        )
    room = "" if free is None else f", {free / 1e9:,.1f} GB free"
    print(f"{'writing':>12}  {request.output.uri()} can be written{room}")
    budget = request.job.requests_per_minute if isinstance(request.job, Budgeted) else None
    if budget:
        # A sample would spend requests; what audio weighs is told by the rows once there are some.
        expected = Forecast(before + len(items) / budget * 60, budget / 60, 0.0, 0, len(items) + 2 * shards)
        print(f"{'budget':>12}  {counted(len(items), 'text')} at {budget:g} requests a minute, one request a text")
    else:
        # As good as random, and the same every time.
        items += [PendingItem(item) for item in archives.sample]
        items.sort(key=lambda item: bucket(item.reference.container or item.reference.id, 2**32))
        sample = take_sample(request.job, items, request.flags.shard_size, columns=request.corpus.kept)
        expected = forecast(
            sample, len(items) - len(archives.sample) + archives.images + others.todo, images, shards, before
        )
        if tarred_rows(request.job.format):
            expected = expected._replace(files=expected.files + shards)
        _tell_sample(sample)
    _tell(expected, before, request)
    fits = free is None or expected.bytes <= free
    print(
        f"{name}: plan: {about}{images:,} to do in {_time(expected.seconds)}, {expected.bytes / 1e6:,.1f} MB in "
        f"{counted(expected.files, 'file')} → {request.output.uri()}{'' if fits else ', which has no room for them'}"
    )
    return DONE if fits else CHECK_FAILED


def _alone(item: PendingItem) -> PendingItem:
    """As if no other shard had images of the same text: a sample speaks it itself."""
    reference = item.reference
    return item._replace(
        reference=reference._replace(group=normalize_text(reference.text) or reference.group, part=None)
    )


def _tell_sample(sample: Sample) -> None:
    well = sample.items - len(sample.failures)
    print(f"{'reading':>12}  {well:,} of {sample.items:,} sampled are well")
    for line in failure_lines(sample.failures):
        print(f"{'':>12}    {line}")


def _tell(expected: Forecast, before: float, request: "Request") -> None:
    runner = request.options.view_as(StandardOptions).runner
    pace = f", {expected.a_second:,.1f} a second" if expected.a_second else ""
    where = (
        "on this machine" if runner == "FnApiRunner" else f"on one such machine; {runner} shares it among its workers"
    )
    print(f"{'time':>12}  {_time(expected.seconds)} {where}{pace}, {before:.0f} s of it before the job is opened")
    print(f"{'cores':>12}  {expected.core_hours:,.3g} core-hours")
    print(f"{'bytes':>12}  {expected.bytes:,} in {counted(expected.files, 'file')}")


def _time(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
