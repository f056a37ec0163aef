import contextlib
import datetime
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from model.storage import Storage
from pipelines.commits import lease
from pipelines.commits.lease import DEAD_AFTER_SECONDS, FILE, HEARTBEAT_SECONDS, Lease
from schemas.command import RefusedError


def holder(output):
    return json.loads(output.read(FILE))


def write_lease(output, **changes):
    content = {"host": socket.gethostname(), "process": os.getpid(), "token": "theirs", "heartbeat": ago(0)}
    output.write(FILE, json.dumps({**content, **changes}).encode())


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


def test_the_heart_beats(output, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    with Lease(output):
        first = holder(output)
        assert wait_for(lambda: output.exists(FILE) and holder(output)["heartbeat"] > first["heartbeat"])
        assert holder(output)["token"] == first["token"]
    time.sleep(0.3)
    assert not output.exists(FILE)  # the heart stopped before the lease was given back


def test_a_lease_that_was_taken_over_is_left_to_its_new_holder(output, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    with Lease(output) as ours:
        write_lease(output, host="elsewhere")
        assert wait_for(lambda: not ours._thread.is_alive())  # no heartbeat into another's lease
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
    thread.join(2)
    try:
        assert outcome in (["taken over"], ["refused"])
    finally:
        local.delete(FILE)
        thread.join(5)
