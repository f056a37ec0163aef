import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from beamscribe.errors import STOPPED, RefusedError
from beamscribe.pipelines.commits import lease
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.lease import DEAD_AFTER_SECONDS, FILE, HEARTBEAT_SECONDS, Lease, LeaseLostError
from beamscribe.storage.critical_section import RunStoppedError, is_stopped
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import FakeJob, contents, run_of, shard


def holder(output):
    return json.loads(output.read(FILE))


def write_lease(output, **changes):
    content = {"host": socket.gethostname(), "process": os.getpid(), "token": "theirs", "heartbeat": ago(0)}
    output.write(FILE, json.dumps({**content, **changes}).encode())


GOOD = {"host": "elsewhere", "process": 7, "token": "theirs", "heartbeat": "2026-01-01T00:00:00+00:00"}


def ago(seconds):
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)).isoformat()


@pytest.fixture(scope="module")
def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_holds_and_gives_back(output):
    with Lease(output):
        held = holder(output)
        assert (held["host"], held["process"]) == (socket.gethostname(), os.getpid())
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(held["heartbeat"])
        assert 0 <= age.total_seconds() < 60
    assert not output.exists(FILE)
    with Lease(output):  # and it can be taken again
        assert holder(output)["token"] != held["token"]


def test_is_given_back_after_an_exception(output):
    with pytest.raises(KeyError, match="ours"), Lease(output):
        raise KeyError("ours")
    assert not output.exists(FILE)


def test_a_second_taker_is_refused_and_told_what_to_do(output):
    with Lease(output):
        before = output.read(FILE)
        with pytest.raises(RefusedError) as caught, Lease(output):
            pytest.fail("both hold it")
        assert output.read(FILE) == before
        message = str(caught.value)
        assert f"process {os.getpid()} on {socket.gethostname()}" in message
        assert output.uri(FILE) in message
        assert holder(output)["heartbeat"] in message
    assert not output.exists(FILE)


def test_another_output_is_another_lease(output, tmp_path):
    with Lease(output), Lease(Storage(str(tmp_path / "another"))):
        assert output.exists(FILE)


def test_a_live_process_of_another_is_not_taken_over(output):
    write_lease(output, process=os.getppid())
    with pytest.raises(RefusedError), Lease(output):
        pytest.fail("taken from the living")
    assert holder(output)["token"] == "theirs"


def test_a_dead_process_of_this_host_is_taken_over_at_once(output, dead_process):
    write_lease(output, process=dead_process)
    with Lease(output):
        assert holder(output)["process"] == os.getpid()
    assert not output.exists(FILE)


@pytest.mark.parametrize(
    ("seconds", "dead"), [(0, False), (DEAD_AFTER_SECONDS - 20, False), (DEAD_AFTER_SECONDS + 1, True)]
)
def test_another_host_is_judged_by_its_heartbeat_alone(output, dead_process, seconds, dead):
    write_lease(output, host="elsewhere", process=dead_process, heartbeat=ago(seconds))
    if dead:
        with Lease(output):
            assert holder(output)["host"] == socket.gethostname()
    else:
        with pytest.raises(RefusedError, match="elsewhere"), Lease(output):
            pytest.fail("taken from the living")


def test_a_process_number_that_went_to_another_program_is_told_by_the_heartbeat(output):
    write_lease(output, process=os.getppid(), heartbeat=ago(DEAD_AFTER_SECONDS + 1))
    with Lease(output):
        assert holder(output)["process"] == os.getpid()


def test_two_minutes_and_several_heartbeats_fit_together():
    assert DEAD_AFTER_SECONDS == 120
    assert HEARTBEAT_SECONDS * 3 < DEAD_AFTER_SECONDS


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_the_lease_is_renewed(output, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    with Lease(output):
        first = holder(output)
        assert wait_for(lambda: output.exists(FILE) and holder(output)["heartbeat"] > first["heartbeat"])
        assert holder(output)["token"] == first["token"]
    time.sleep(0.3)
    assert not output.exists(FILE)  # no heartbeat came after the lease was given back


def test_a_lease_that_was_taken_over_is_left_to_its_new_holder(output, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    with Lease(output) as args:
        write_lease(output, host="elsewhere")
        assert wait_for(lambda: not args.heartbeat.alive)  # no heartbeat into another's lease
        assert holder(output)["token"] == "theirs"
    assert holder(output)["token"] == "theirs"


def test_a_lease_that_someone_deleted_is_no_error(output):
    with Lease(output):
        output.delete(FILE)
    assert not output.exists(FILE)


def test_of_many_takers_one_wins(local):
    barrier = threading.Barrier(4)
    done = threading.Event()
    outcomes = []

    def take():
        barrier.wait()
        try:
            with Lease(local):
                outcomes.append("held")
                done.wait(10)
        except RefusedError:
            outcomes.append("refused")
        if len(outcomes) == 4:
            done.set()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(outcomes) == 4)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "refused", "refused", "refused"]


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(RefusedError, match="cannot be written"), Lease(Storage(str(tmp_path / "file"))):
        pytest.fail("a lease below a file")


@dataclass(frozen=True)
class Overtaken(Storage):
    """Lets someone else act between our look at the lease and its deletion."""

    meanwhile: Callable[[], object] = lambda: None

    def delete(self, name):
        self.meanwhile()
        super().delete(name)


def test_of_two_that_take_over_a_dead_lease_one_wins(local, dead_process):
    write_lease(local, process=dead_process)
    with contextlib.ExitStack() as stack:
        faster = Lease(local)
        entered = []

        def overtake():
            if not entered:
                entered.append(stack.enter_context(faster))

        slower = Lease(Overtaken(local.root, meanwhile=overtake))
        with contextlib.suppress(RefusedError):
            entered.append(stack.enter_context(slower))
        assert [taker for taker in entered if taker._held()] == entered
        assert len(entered) == 1


ODD = {
    "empty": b"",
    "cut": b"{",
    "list": b"[]",
    "list of the right length": b'["h", 1, "t", "2020-01-01T00:00:00+00:00"]',
    "number": b"7",
    "null": b"null",
    "text": b'"lease"',
    "no fields": b"{}",
    "a field too few": b'{"host": "h", "process": "p", "token": "t"}',
    "a field too many": json.dumps({**GOOD, "colour": "red"}).encode(),
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "no utf-8": b"\xff\xfe",
    **{
        f"{name} {type(value).__name__}": json.dumps({**GOOD, name: value}).encode()
        for name in GOOD
        for value in (None, [], {}, 7.5, True, "x", 2**70, -3, float("nan"))
        if not (name in ("host", "token") and value == "x")
    },
    "without an offset": json.dumps({**GOOD, "heartbeat": "2026-01-01T00:00:00"}).encode(),
    "of the far future": json.dumps({**GOOD, "heartbeat": "9999-01-01T00:00:00+00:00"}).encode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_a_lease_of_odd_types_is_a_damaged_one(local, content):
    local.write(FILE, content)
    with Lease(local) as taken:
        assert holder(local)["token"] == taken.token
    assert not local.exists(FILE)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"host": "h", "process": "p", "token": "t"}'])
def test_a_damaged_lease_is_refused_or_taken_over(local, content):
    local.write(FILE, content)
    outcome = []

    def take():
        try:
            with Lease(local):
                outcome.append("taken over")
        except RefusedError:
            outcome.append("refused")
        except Exception as error:  # noqa: BLE001 - the test tells of it
            outcome.append(repr(error))

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(20)
    try:
        assert outcome in (["taken over"], ["refused"])
    finally:
        local.delete(FILE)
        thread.join(5)


@dataclass(frozen=True)
class Failing(Storage):
    """Storage that can be told to fail, as when the network is gone for longer than all attempts."""

    fails: threading.Event = field(default_factory=threading.Event)

    def write(self, name, data):
        if self.fails.is_set():
            raise OSError(5, "the network is gone")
        super().write(name, data)

    def read(self, name):
        if self.fails.is_set():
            raise OSError(5, "the network is gone")
        return super().read(name)


@pytest.fixture
def quick(monkeypatch):
    """A clock a hundred times as fast."""
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 1.2)
    monkeypatch.setattr(lease, "HELD_SECONDS", 0.1)


def test_the_heartbeat_survives_a_storage_that_fails_for_a_while(output, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.1)
    failing = Failing(output.root)
    with Lease(failing) as held:
        failing.fails.set()
        time.sleep(0.4)
        failing.fails.clear()
        first = holder(output)
        assert wait_for(lambda: holder(output)["heartbeat"] > first["heartbeat"])
        held.check()
        assert held.why_lost == ""


def test_a_run_that_cannot_renew_its_lease_stops_before_others_may_enter(output, quick):
    failing = Failing(output.root)
    with contextlib.suppress(OSError), Lease(failing) as held:
        failing.fails.set()
        began = time.monotonic()

        def lost():
            try:
                held.check()
            except LeaseLostError:
                return True
            return False

        assert wait_for(lost)
        assert time.monotonic() - began < 1.2
        assert "could not be renewed" in held.why_lost
        assert is_stopped(held.token)
    output.delete(FILE)


def test_a_run_that_slept_finds_out_before_it_writes(output, quick):
    """The heartbeat has not had its chance yet: whoever writes first asks."""
    with Lease(output) as held:
        held.heartbeat.stop(10)
        write_lease(output, host="elsewhere")
        held._renewed -= 1.2  # it slept
        with pytest.raises(LeaseLostError, match="process .* on elsewhere"):
            replace(output, run=held.token).write("x", b"")
        assert not output.exists("x")
        with pytest.raises(LeaseLostError):
            replace(output, run=held.token).delete(FILE)
    with pytest.raises(RunStoppedError):
        replace(output, run=held.token).delete(FILE)


def test_a_run_that_slept_and_was_not_missed_goes_on(output, quick):
    with Lease(output) as held:
        held._renewed -= 1.2
        replace(output, run=held.token).write("x", b"")
        assert output.read("x") == b""


def commit(output):
    run = run_of(output)
    return commit_shard(shard("s", "a", "b"), FakeJob(frozenset("b")).open(run), run)


def test_a_worker_commits_nothing_once_another_run_holds_the_lease(output):
    """In whatever process it is: no more than the output and the run's token is known to it."""
    with Lease(output) as held:
        worker = replace(output, run=held.token)
        commit(worker)
        before = contents(output)
        write_lease(output, host="elsewhere")
        with pytest.raises(LeaseLostError, match="is being written by process .* on elsewhere by now"):
            commit(worker)
        assert contents(output) | {FILE: before[FILE]} == before
        output.delete(FILE)
        with pytest.raises(LeaseLostError, match="is not held by any run"):
            commit(worker)
        assert contents(output).keys() == before.keys() - {FILE}


def test_a_commit_that_sleeps_between_its_look_and_its_rename_is_fenced_by_the_next_run(local, monkeypatch):
    """The gap that a look cannot close: the next run removes the temporary, and there is nothing to rename."""
    rename = os.replace

    def slow(old, new):
        if new.endswith(".parquet"):
            write_lease(local, host="elsewhere")
            for name in local.temporaries():
                local.delete(name)
        rename(old, new)

    with Lease(local) as held:
        monkeypatch.setattr(os, "replace", slow)
        with pytest.raises(FileNotFoundError):
            commit(replace(local, run=held.token))
        monkeypatch.undo()
    assert not any(name.startswith(("captions/", "failures/")) for name in contents(local))


SLEEPER = """
import sys, time
from dataclasses import replace
from beamscribe.pipelines.commits import lease
lease.HEARTBEAT_SECONDS, lease.DEAD_AFTER_SECONDS = 0.2, 2.0
from beamscribe.pipelines.runtime import launcher, progress
from tests.pipelines.fake_job import FakeJob
from tests.pipelines.test_stops import request
from beamscribe.storage.storage import Storage
sys.exit(launcher.launch(request(Storage(sys.argv[1]), FakeJob(style="oil", naps_seconds=0.3), shard_size=1)))
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_a_run_that_was_suspended_does_not_commit_after_the_takeover(local, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 2.0)
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, local.root], stderr=subprocess.PIPE, text=True)
    assert wait_for(lambda: len(local.files("captions")) >= 2, 60)
    process.send_signal(signal.SIGSTOP)
    first = contents(local)
    time.sleep(2.5)
    with Lease(local):
        # As the launcher of the next run does.
        for name in local.temporaries():
            local.delete(name)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
        after = contents(local)
    assert process.returncode == STOPPED, errors
    assert "which took over since the last heartbeat" in errors
    committed = {name for name in after if name.startswith(("captions/", "_beamscribe/shards"))}
    assert committed == {name for name in first if name.startswith(("captions/", "_beamscribe/shards"))}
