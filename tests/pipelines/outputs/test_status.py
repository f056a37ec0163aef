import datetime
import io
import json
import re
import threading

import pytest
from rich.console import Console

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.commits.lease import Lease
from beamscribe.pipelines.outputs.following import ShownAsBar, ShownAsLines, follow, pace
from beamscribe.pipelines.outputs.job_status import lines, status
from beamscribe.pipelines.outputs.status import run
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.schemas.corpus_item import FOLDER as CORPUS
from tests.pipelines.fake_job import FakeJob, run_of, shard
from tests.pipelines.outputs.test_verify import FINGERPRINT, go


def test_a_finished_job(local, capsys):
    assert go(local, "abcdef", failing="be") == DONE
    found = status(local)
    assert (found.job, found.asked, found.done, found.todo, found.this_run) == ("caption", 6, 4, 0, 6)
    assert [row.id for row in found.failures] == ["b", "e"]
    assert found.writer is None
    assert found.seconds_left is None
    capsys.readouterr()
    assert run([local.root]) == DONE
    told = capsys.readouterr().out.split("\n")
    assert told[:5] == [
        "caption: 6 in the corpus",
        "           4 done",
        "           2 failed",
        "               2 × read: FakeError",
        "           0 to do",
    ]
    assert told[5].startswith("not running; the latest run did 6, ")


def test_tells_what_the_sources_name_and_the_job_leaves_out(local, capsys):
    go(local, "aab", skipped=[Skipped("broken link", 2), Skipped("hidden file")])
    told = lines(status(local))
    assert told[4:8] == [
        "           1 repeated",
        "           3 skipped",
        "               2 × broken link",
        "               1 × hidden file",
    ]
    capsys.readouterr()
    run([local.root, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["repeated"], found["skipped"]) == (1, {"broken link": 2, "hidden file": 1})


def test_a_job_that_was_killed_half_way(local):
    go(local, "abcdef")
    for entry in local.files("captions")[:1]:
        local.delete(entry.name)
    found = status(local)
    assert 0 < found.todo < 6
    assert found.done + found.todo == 6
    assert run([local.root]) == STOPPED


def test_rate_and_time_left_while_a_run_is_going_on(local):
    go(local, "abcdef")
    manifest = json.loads(local.read("_beamscribe/manifest.json"))
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=10)
    manifest["run_started"] = started.isoformat()
    local.write("_beamscribe/manifest.json", json.dumps(manifest).encode())
    for entry in local.walk("captions") + local.walk("_beamscribe/shards"):
        local.delete(entry.name)
    now = run_of(local, FINGERPRINT.digest, started)
    commit_shard(shard("one", "a", "b"), FakeJob().open(now), now)
    with Lease(local):
        found = status(local)
        assert found.writer is not None
        assert (found.done, found.todo, found.this_run) == (2, 4, 2)
        assert found.a_second == pytest.approx(2 / 10, rel=0.1)
        assert found.seconds_left == pytest.approx(20, rel=0.1)
        assert lines(found)[-1].startswith("running: process")
        assert "left" in lines(found)[-1]
    assert status(local).writer is None


def test_a_run_that_has_committed_nothing_yet(local):
    go(local, "ab")
    for entry in local.walk("captions") + local.walk("_beamscribe/shards"):
        local.delete(entry.name)
    with Lease(local):
        assert "nothing committed yet" in lines(status(local))[-1]


def test_a_dead_writer_is_none(local):
    go(local, "ab")
    with Lease(local):
        dead = json.loads(local.read(LEASE)) | {"heartbeat": "2020-01-01T00:00:00+00:00"}
        local.write(LEASE, json.dumps(dead).encode())
        assert status(local).writer is None


def test_for_programs(local, capsys):
    go(local, "abc", failing="b")
    capsys.readouterr()
    run([local.root, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["asked"], found["done"], found["failed"], found["todo"]) == (3, 2, 1, 0)
    assert found["failures"] == [{"stage": "read", "error_type": "FakeError", "count": 1}]


def test_what_is_no_output_is_refused(local, tmp_path):
    with pytest.raises(RefusedError, match="is not an output of Beamscribe"):
        run([str(tmp_path)])
    go(local, "ab")
    local.write(local.files(CORPUS)[0].name, b"{")
    with pytest.raises(RefusedError, match="cannot be read: .*is not readable Parquet"):
        run([local.root])


class Shown:
    """Notes what it is to show."""

    interval_seconds = 7.0

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, found):
        self.told.append(f"{found.done + len(found.failures)}/{found.asked}, {pace(found)}")


def test_a_running_job_is_followed_until_it_ends(local):
    go(local, "abcdef", failing="b")
    over = status(local)
    begun = over._replace(writer="process 7", done=0, failures=[], todo=6, this_run=0, a_second=None)
    half = over._replace(writer="process 7", done=2, todo=3, a_second=0.5)
    looks = [begun, OSError("replaced while it was read"), half, over]
    shown, waited = Shown(), []

    def look():
        found = looks.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    assert follow(look, shown, waited.append) == over
    assert shown.told == ["0/6, 0 failed, nothing committed yet", "3/6, 1 failed, 0.5 a second, 0:00:06 left"]
    assert waited == [7.0, 7.0, 7.0]
    in_vain = []
    with pytest.raises(OSError, match="gone"):
        follow(lambda: in_vain.append(1) or open_nothing(), shown, waited.append)
    assert len(in_vain) == 5


def open_nothing():
    raise OSError("gone")


def test_following_what_does_not_run_ends_at_once(local, capsys):
    go(local, "abc")
    capsys.readouterr()
    assert run([local.root, "--follow"]) == DONE
    assert capsys.readouterr().out.splitlines()[0] == "caption: 3 in the corpus"
    assert run([local.root, "--follow", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["done"] == 3


def test_following_shows_lines_until_the_lease_is_given_up(local, capsys, monkeypatch):
    go(local, "abc")
    capsys.readouterr()
    with Lease(local):
        ended = threading.Timer(0.5, local.delete, [LEASE])
        monkeypatch.setattr(ShownAsLines, "interval_seconds", 0.2)
        ended.start()
        assert run([local.root, "--follow"]) == DONE
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("beamscribe caption: 3 of 3 done, 0 failed, ")
    assert told[-1].startswith("not running")


def test_a_bar_fits_a_narrow_terminal(local):
    go(local, "abcdef", failing="b")
    found = status(local)._replace(writer="process 7", done=2, todo=3, a_second=0.5)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with ShownAsBar(console, local=True) as bar:
        bar(found)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "3/6" in text
    assert "0:00:06 left" in text
    assert max(map(len, re.split(r"[\r\n]", text))) <= 80
