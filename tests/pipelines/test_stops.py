"""Every way in which a run can stop, within one process, each followed by a run that succeeds: as in a notebook."""

import datetime
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, STOPPED
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits import lease
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.commits.liveness import STARTED
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime import assignment, running
from beamscribe.pipelines.runtime.flags.jobs import JobFlags, failure_bound
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.critical_section import RunStoppedError
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import FakeJob, attempts_of, captions_of, references

IDS = "abcdefgh"
FINGERPRINT = Fingerprint({"style": "oil"})
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


class Endless(FakeJob):
    """Does its first shard at once, and then takes for ever over the second, until the test is over.

    What the threads of a stopped run did when they were let go on stands in `late`.
    """

    over = threading.Event()
    late: list[BaseException] = []  # noqa: RUF012 - of all instances, since Beam copies them

    def open(self, run):
        process = super().open(run)
        shards = itertools.count()

        def slowly(shard):
            if next(shards):
                self.over.wait()
                try:
                    run.output.write("late", b"")
                except BaseException as error:
                    self.late.append(error)
                    raise
            yield from process(shard)

        return slowly


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    monkeypatch.setattr(Endless, "over", threading.Event())
    monkeypatch.setattr(Endless, "late", [])
    monkeypatch.setattr("beamscribe.pipelines.runtime.progress.INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr(running, "LOOK_SECONDS", 0.1)
    yield
    Endless.over.set()


def request(output, job=None, argv=(), **flags):
    flags = {"shard_size": 2, "limit": None, "retry_failed": False, "on_change": "refuse", **flags}
    return Request(
        job=job or FakeJob(),
        corpus=distinct(references(*IDS)),
        output=output,
        fingerprint=FINGERPRINT,
        details={},
        flags=JobFlags(storage_options={}, **flags),
        options=parse(FlagParser(prog="beamscribe fake"), list(argv))[1],
    )


def when_something_is_committed(output, act):
    """Acts in a thread of its own as soon as there is a first row or failure row."""

    def wait():
        while not (output.files("captions") or output.files("failures")):
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def stop_by_signal(number):
    def stop(output, monkeypatch, argv=()):
        when_something_is_committed(output, lambda: os.kill(os.getpid(), number))
        # A shell that runs the tests in the background has made them deaf to Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return launch(request(output, Endless() if not argv else FakeJob(naps_seconds=0.5), argv))
        finally:
            signal.signal(signal.SIGINT, before)

    return stop


def too_many_failures(output, monkeypatch):
    return launch(request(output, Endless(frozenset(IDS)), max_failures=failure_bound("0")))


def lost_workers(output, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("beamscribe.pipelines.commits.liveness.LOST_SECONDS", 0.5)
        patch.setattr("beamscribe.pipelines.commits.liveness.BEAT_SECONDS", 1000.0)
        return launch(request(output, Endless()))


def storage_error(output, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(assignment, "write_corpus", full)
        return launch(request(output))


def raising_job(output, monkeypatch):
    return launch(request(output, FakeJob(crash_after=1)))


def stalled_shard(output, monkeypatch):
    return launch(request(output, Endless(), stall_timeout=1))


def lost_lease(output, monkeypatch):
    def take_over():
        theirs = {"host": "elsewhere", "process": 7, "token": "theirs", "heartbeat": lease_time()}
        output.write(LEASE, json.dumps(theirs).encode())

    with monkeypatch.context() as patch:
        patch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
        taker = when_something_is_committed(output, take_over)
        code = launch(request(output, Endless()))
        taker.join()
    assert json.loads(output.read(LEASE))["token"] == "theirs"
    output.delete(LEASE)
    return code


def lease_time():
    return datetime.datetime.now(datetime.UTC).isoformat()


STOPS = {
    "ctrl-c": (stop_by_signal(signal.SIGINT), INTERRUPTED),
    "sigterm": (stop_by_signal(signal.SIGTERM), INTERRUPTED),
    "max-failures": (too_many_failures, CHECK_FAILED),
    "lost-workers": (lost_workers, STOPPED),
    "storage-error": (storage_error, STOPPED),
    "raising-job": (raising_job, STOPPED),
    "stalled-shard": (stalled_shard, STOPPED),
    "lost-lease": (lost_lease, STOPPED),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STOPS)
def test_after_a_stop_the_next_run_of_the_same_process_does_the_rest(local, monkeypatch, capsys, kind):
    stop, code = STOPS[kind]
    before = threading.excepthook, logging.root.manager.disable
    assert stop(local, monkeypatch) == code
    left = captions_of(local)
    assert len(left) < len(IDS)
    assert not local.exists(LEASE)
    assert (threading.excepthook, logging.root.manager.disable) == before
    assert launch(request(local, retry_failed=True)) == DONE
    assert captions_of(local) == [(id, f"{id} in oil") for id in IDS]
    assert verify(local) == (len(IDS), 0, 0, ())
    # The threads of the stopped run are let go on, and can do no harm any more.
    Endless.over.set()
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("shard") for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(isinstance(error, RunStoppedError) for error in Endless.late)
    assert not local.exists("late")
    assert captions_of(local) == [(id, f"{id} in oil") for id in IDS]
    assert local.files(STARTED) == []


def test_a_job_stops_as_soon_as_too_many_have_failed(local, monkeypatch, capsys):
    assert too_many_failures(local, monkeypatch) == CHECK_FAILED
    assert "more than --max-failures 0 allows" in capsys.readouterr().err
    assert 0 < len(attempts_of(local)) < len(IDS)
    # It was stopped in peace, so no shard is suspected.
    assert local.files(STARTED) == []
    Endless.over.set()


def test_a_stall_in_this_process_marks_its_shard(local, monkeypatch, capsys):
    assert stalled_shard(local, monkeypatch) == STOPPED
    assert "made no progress for 1 s" in capsys.readouterr().err
    [marker] = local.files(STARTED)
    assert b'"suspect": true' in local.read(marker.name)
    Endless.over.set()


def test_a_lease_that_was_lost_is_told(local, monkeypatch, capsys):
    assert lost_lease(local, monkeypatch) == STOPPED
    assert "which took over since the last heartbeat" in capsys.readouterr().err
    Endless.over.set()


@pytest.mark.nightly
@pytest.mark.slow
def test_after_ctrl_c_worker_processes_are_gone_and_nobody_elses(local, monkeypatch, capfd):
    theirs = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    # Other tests of this process may have left some of their own.
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    try:
        before = threading.excepthook, logging.root.manager.disable, logging.getLogger("apache_beam").level
        assert stop_by_signal(signal.SIGINT)(local, monkeypatch, PROCESSES) == INTERRUPTED
        assert theirs.poll() is None
        assert {child.pid for child in psutil.Process().children(recursive=True)} <= children
        assert (
            threading.excepthook,
            logging.root.manager.disable,
            logging.getLogger("apache_beam").level,
        ) == before
        assert launch(request(local, argv=PROCESSES)) == DONE
        assert captions_of(local) == [(id, f"{id} in oil") for id in IDS]
        assert theirs.poll() is None
        assert "Traceback" not in capfd.readouterr().err
    finally:
        theirs.kill()
        theirs.wait()


@pytest.mark.nightly
@pytest.mark.slow
def test_the_process_of_a_stopped_run_ends(tmp_path):
    """Nothing of it keeps the interpreter from ending."""
    code = (
        "import sys, threading\n"
        "import tests.pipelines.test_stops as stops\n"
        "from beamscribe.storage.storage import Storage\n"
        "job = stops.FakeJob(frozenset('abcdefgh'), naps_seconds=0.2)\n"
        "bound = stops.failure_bound('0')\n"
        "code = stops.launch(stops.request(Storage(sys.argv[1]), job, max_failures=bound))\n"
        "sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == CHECK_FAILED, ended.stderr
    assert Storage(str(tmp_path)).temporaries() == []
