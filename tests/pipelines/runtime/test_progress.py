"""Progress is what is committed: a bar on a terminal, lines elsewhere."""

import dataclasses
import datetime
import io
import itertools
import pathlib
import re
import time

import pytest
from rich.console import Console

from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.liveness import LivenessMonitor, LivenessReporter, in_hand
from beamscribe.pipelines.runtime.progress import Progress
from beamscribe.schemas.receipt import RECEIPTS, FileStamp, Receipt
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import FINGERPRINT, FakeJob, run_of, shard


def commit(output: Storage, started: datetime.datetime, *ids: str, failing: str = "") -> None:
    run = run_of(output, started=started)
    commit_shard(shard("-".join(ids), *ids), FakeJob(frozenset(failing)).open(run), run)


@pytest.fixture
def started() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=100)


def test_lines_where_there_is_no_terminal(
    output: Storage, started: datetime.datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(output, started - datetime.timedelta(hours=1), "x", "y")
    with Progress(output, "caption", started, todo=1000) as progress:
        assert progress.interval_seconds is None
        progress.tell()
        commit(output, started, "a", "b", "c", failing="b")
        progress.tell()
        commit(output, started, "d", "e")
        progress.tell()
    first, second, third = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"beamscribe caption: 0 of 1,000 done, 0 failed, nothing committed yet, 0:01:4\d", first)
    # 997 are left at 3 in a good 100 seconds, then 995 at 5.
    assert re.fullmatch(r"beamscribe caption: 2 of 1,000 done, 1 failed, 0\.0 a second, (9|10):\d\d:\d\d left", second)
    assert re.fullmatch(r"beamscribe caption: 4 of 1,000 done, 1 failed, 0\.\d a second, [56]:\d\d:\d\d left", third)
    assert (progress.rows, progress.failures) == (4, 1)


def test_a_bar_on_a_terminal(local: Storage, memory: Storage, started: datetime.datetime) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    commit(local, started, "a", "b", "c", failing="b")
    with Progress(local, "caption", started, 4, console) as progress:
        progress.tell()
        commit(local, started, "d")
    shown = screen.getvalue()
    assert "4/4" in shown
    assert "1 failed, 0.0 a second, 0:00:00 left" in shown
    # Looking costs nothing on the disk, and somebody may pay for a listing elsewhere.
    assert progress.interval_seconds == 1
    assert Progress(memory, "caption", started, 4, console).interval_seconds is None


@pytest.mark.parametrize("todo", [4, 12_345_678])
def test_the_bar_fits_a_narrow_terminal_and_moves_before_the_first_commit(
    local: Storage, started: datetime.datetime, todo: int
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    output = dataclasses.replace(local, run="a run")
    with Progress(output, "featurize", started, todo, console) as progress:
        (task,) = progress._bar.tasks
        assert task.total is None
        with LivenessReporter(output, "a shard", timeout_seconds=60) as reporter:
            for _ in range(3):
                reporter.heartbeat(1)
            progress.tell()
            assert (task.completed, task.total) == (3, todo)
            assert "0 failed, 3 in hand, 0:01:4" in progress.pace()
            # Items of other runs are none of this one's.
            assert in_hand("another run") == 0
        commit(local, started, "a", "b", "c", failing="b")
        progress.tell()
        assert (task.completed, task.total) == (3, todo)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", screen.getvalue())]
    assert max(map(len, lines)) <= 80
    assert f"{3}/{todo:,}" in lines[-2] + lines[-1]
    assert "1 failed" in lines[-2] + lines[-1]


def receipts(output: Storage, numbers: range, started: datetime.datetime, ids: tuple[str, ...]) -> None:
    """Receipts as a job leaves them, without their rows."""
    folder = pathlib.Path(output.path(RECEIPTS))
    folder.mkdir(parents=True, exist_ok=True)
    file = FileStamp("", 0, "", ids)
    for number in numbers:
        stem = f"{number:05d}-of-65536-0123456789abcdef"
        receipt = Receipt(stem, FINGERPRINT, started.isoformat(), 10.0, file, None)
        (folder / f"{stem}.json").write_bytes(receipt.to_json())


class Clock:
    """Of this process's processor, and of the wall; both stand still unless they are told to go."""

    def __init__(self) -> None:
        self.wall = self.core = 0.0


def test_the_more_a_look_costs_the_seldomer_it_is(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", lambda: clock.wall)
    monkeypatch.setattr("time.thread_time", lambda: clock.core)
    progress = Progress(local, "caption", datetime.datetime.now(datetime.UTC), 10)
    looks = []
    for cost in (0.0, 0.05, 0.5, 3.0):
        while True:
            clock.wall += 1.0
            with progress.look_if_due() as signs:
                if signs is not None:
                    clock.core += cost
            if signs is not None:
                looks.append(clock.wall)
                break
    waited = [after - before for before, after in itertools.pairwise(looks)]
    assert waited == [pytest.approx(10, abs=2), pytest.approx(10, abs=2), pytest.approx(50, abs=2)]


def test_receipts_of_earlier_runs_are_not_read(local: Storage, started: datetime.datetime) -> None:
    receipts(local, range(50), started, ("a",))
    known = [entry.name for entry in local.files(RECEIPTS)]
    receipts(local, range(50, 53), started, ("b", "c"))
    read = []

    class Reading(Storage):
        def read(self, name: str) -> bytes:
            read.append(name)
            return super().read(name)

    progress = Progress(Reading(local.root), "caption", started, 200, known=known)
    progress.tell()
    progress.tell()
    assert progress.rows == 6
    assert len(read) == 3


@pytest.mark.nightly
@pytest.mark.slow
def test_watching_a_job_of_forty_thousand_shards_takes_less_than_two_percent_of_a_core(
    local: Storage, monkeypatch: pytest.MonkeyPatch, started: datetime.datetime
) -> None:
    """The last quarter of an hour of the job, with a shard every second; the wall clock is made, the core's is not."""
    wall = 0.0
    receipts(local, range(39_000), started, ("a",))
    monkeypatch.setattr("time.monotonic", lambda: wall)
    progress = Progress(local, "caption", started, 40_000 * 256, known=[one.name for one in local.files(RECEIPTS)])
    lookout = LivenessMonitor(local, 1000)
    spent = 0.0
    for second in range(900):
        wall = float(second)
        receipts(local, range(39_000 + second, 39_001 + second), started, tuple(map(str, range(256))))
        begun = time.thread_time()
        with progress.look_if_due() as signs:
            if signs:
                assert not lookout.lost(signs)
        spent += time.thread_time() - begun
    assert progress.rows > 700 * 256
    assert spent < 0.02 * 900
