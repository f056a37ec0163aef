import subprocess
import sys
import time

import pytest

from beamscribe.errors import STOPPED
from beamscribe.pipelines.commits.crashes import crashed_before
from beamscribe.pipelines.commits.liveness import (
    STARTED,
    LivenessMonitor,
    LivenessReporter,
    Signs,
    forget_started,
    suspect_started,
)
from beamscribe.storage.critical_section import RunStoppedError


def test_a_marker_is_there_while_the_shard_is_in_hand(output):
    with LivenessReporter(output, "s", 60) as reporter:
        assert not reporter.suspect
        assert [entry.name for entry in output.files(STARTED)] == [f"{STARTED}/s"]
    assert output.files(STARTED) == []


def test_a_shard_that_ended_in_an_error_is_suspected(output):
    with pytest.raises(ValueError, match="bad"), LivenessReporter(output, "s", 60):
        raise ValueError("bad")
    with LivenessReporter(output, "s", 60) as again:
        assert again.suspect
    with LivenessReporter(output, "s", 60) as third:
        assert not third.suspect


class Gone(BaseException):
    """Nothing of the process is left that could take the marker away."""


def lose(output):
    with pytest.raises(Gone), LivenessReporter(output, "s", 60) as reporter:
        raise Gone
    return reporter.suspect


def test_a_worker_that_was_taken_away_once_says_nothing_of_its_images(output):
    assert [lose(output), lose(output), lose(output)] == [False, False, True]
    with LivenessReporter(output, "s", 60) as fourth:
        assert fourth.suspect
    with LivenessReporter(output, "s", 60) as anew:
        assert not anew.suspect


def test_after_a_crash_the_images_in_hand_are_suspected_at_once(output):
    lose(output)
    suspect_started(output)
    with LivenessReporter(output, "s", 60) as again:
        assert again.suspect


@pytest.mark.parametrize("error", [OSError(5, "the network is gone"), RunStoppedError("stopped")])
def test_a_storage_that_fails_and_a_run_that_is_stopped_suspect_nobody(output, error):
    for _ in range(4):
        with pytest.raises(type(error)), LivenessReporter(output, "s", 60) as reporter:
            raise error
        assert not reporter.suspect or isinstance(error, RunStoppedError)
        if isinstance(error, RunStoppedError):
            forget_started(output)  # as the launcher does that stops a run


@pytest.mark.parametrize(
    "content", [b"", b"1764331512.5", b"[]", b"{}", b'{"attempts": "x", "suspect": 1}', b"\xff", b"[" * 9999]
)
def test_markers_of_other_versions_are_one_attempt(output, content):
    output.write(f"{STARTED}/s", content)
    assert [lose(output), lose(output)] == [False, True]


CRASH = """
import os, signal, sys
from dataclasses import replace
from beamscribe.storage.storage import Storage
from beamscribe.pipelines.commits.crashes import crashes_noted
with crashes_noted(replace(Storage(sys.argv[1]), run="r")):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "crashed"), [("SIGSEGV", True), ("SIGABRT", True), ("SIGKILL", False)])
def test_a_crash_is_told_from_a_kill(local, number, crashed):
    subprocess.run([sys.executable, "-c", CRASH, local.root, number], capture_output=True, check=False)
    assert crashed_before(local) == crashed
    assert not crashed_before(local)


def test_a_marker_shows_in_a_listing_that_somebody_works(output, impatient):
    with LivenessReporter(output, "s", 60):
        seen = set()
        for _ in range(6):
            seen |= Signs.of(output).markers
            time.sleep(0.06)
    assert len(seen) > 1


def test_a_launcher_that_stops_in_peace_forgets(output):
    with pytest.raises(KeyboardInterrupt), LivenessReporter(output, "s", 60):
        raise KeyboardInterrupt
    forget_started(output)
    with LivenessReporter(output, "s", 60) as again:
        assert not again.suspect


SCRIPT = """
import sys, time
from beamscribe.storage.storage import Storage
from beamscribe.pipelines.commits.liveness import LivenessReporter
with LivenessReporter(Storage(sys.argv[1]), "00003-of-00004", 1.0) as reporter:
    for _ in range(4):
        time.sleep(0.5)
        reporter.heartbeat()
    print("beaten", flush=True)
    time.sleep(3600)
"""


@pytest.mark.slow
def test_a_process_without_progress_ends_and_names_the_shard(tmp_path):
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == STOPPED
    assert "beaten" in ended.stdout  # progress kept it alive for longer than its patience
    assert "shard 00003-of-00004 made no progress for 1 s" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 60
    assert (tmp_path / STARTED / "00003-of-00004").exists()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("beamscribe.pipelines.commits.liveness.LOST_SECONDS", 0.2)
    monkeypatch.setattr("beamscribe.pipelines.commits.liveness.START_SECONDS", 0.6)
    monkeypatch.setattr("beamscribe.pipelines.commits.liveness.BEAT_SECONDS", 0.05)


def test_a_marker_beats_while_its_shard_takes_long(output, impatient):
    lookout = LivenessMonitor(output, shards=1)
    with LivenessReporter(output, "s", 60):
        for _ in range(6):
            time.sleep(0.1)
            assert not lookout.lost()
    assert output.files(STARTED) == []


def test_workers_that_give_no_sign_any_more_are_lost(output, impatient):
    output.write(f"{STARTED}/left-by-an-earlier-run", b"")
    lookout = LivenessMonitor(output, shards=2)
    assert not lookout.lost()
    output.write("_beamscribe/shards/a.json", b"{}")
    assert not lookout.lost()
    time.sleep(0.3)
    assert lookout.lost()


def test_machines_may_take_longer_to_start(output, impatient):
    lookout = LivenessMonitor(output, shards=1)
    time.sleep(0.3)
    assert not lookout.lost()
    time.sleep(0.4)
    assert lookout.lost()


def test_an_engine_may_take_its_time_when_all_is_committed(output, impatient):
    output.write("_beamscribe/shards/a.json", b"{}")
    lookout = LivenessMonitor(output, shards=1)
    output.write("_beamscribe/shards/b.json", b"{}")
    assert not lookout.lost()
    time.sleep(0.7)
    assert not lookout.lost()


@pytest.mark.slow
def test_a_beat_that_comes_late_leaves_no_marker(output, impatient):
    for _ in range(20):
        with LivenessReporter(output, "s", 60):
            time.sleep(0.06)
    time.sleep(0.1)
    assert output.files(STARTED) == []


@pytest.mark.slow
def test_bytes_of_a_compressed_archive_are_progress(tmp_path):
    script = SCRIPT.replace("import sys, time", "import sys, time\nfrom beamscribe.storage.advancing import advanced")
    script = script.replace("reporter.heartbeat()", "advanced(1)")
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == STOPPED
    assert "beaten" in ended.stdout
