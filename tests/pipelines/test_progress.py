"""Progress is what is committed: a bar on a terminal, lines elsewhere."""

import datetime
import io
import re

import pytest
from rich.console import Console

from model.storage import Storage
from pipelines.commits.commit import commit_shard
from pipelines.progress import Progress
from tests.pipelines.fake_job import FakeJob, run_of, shard


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
    assert first == "beamscribe caption: 0 of 1,000 done, 0 failed, nothing committed yet"
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
