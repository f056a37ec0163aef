import datetime
import hashlib
import json
import threading

import pyarrow.dataset
import pytest

from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.lease import FILE, Lease
from beamscribe.pipelines.work.shards import Shard, asked_digest
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.receipt import FileStamp, Receipt, stamp
from beamscribe.schemas.rows import FAILURES
from beamscribe.storage import critical_section as critical_section
from beamscribe.storage.transient import StorageError
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import (
    FINGERPRINT,
    START,
    FakeJob,
    attempts_of,
    captions_of,
    contents,
    failures_of,
    run_of,
    shard,
)

LATER = START + datetime.timedelta(hours=1)


def do(output, shard, failing=(), run=None):
    run = run or run_of(output)
    return commit_shard(shard, FakeJob(frozenset(failing)).open(run), run)


def stem(name, *ids):
    return f"{name}-{asked_digest(FINGERPRINT, ids)}"


def test_commits_rows_failures_and_a_receipt_that_describes_them(output):
    receipt = do(output, shard("00001-of-00004", "a", "b", "c"), failing="b")
    name = stem("00001-of-00004", "a", "b", "c")
    assert sorted(contents(output)) == [
        f"_beamscribe/shards/{name}.json",
        f"captions/{name}.parquet",
        f"failures/{name}.parquet",
    ]
    assert captions_of(output) == [("a", "a in oil"), ("c", "c in oil")]
    assert failures_of(output) == [
        FailureRow("file:///photos/b.jpg", "b", "read", "FakeError", "cannot read b", 1, START)
    ]
    for file, ids in ((receipt.rows, ("a", "c")), (receipt.failures, ("b",))):
        data = output.read(file.name)
        assert file == FileStamp(file.name, len(data), hashlib.sha256(data).hexdigest(), ids)
    assert (receipt.stem, receipt.fingerprint, receipt.run_started) == (name, FINGERPRINT, START.isoformat())
    assert receipt.seconds >= 0
    assert Receipt.from_json(output.read(receipt.name)) == receipt


def test_a_stranger_with_pyarrow_reads_the_folder(local):
    do(local, shard("00000-of-00002", "a", "b"), failing="b")
    do(local, shard("00001-of-00002", "c"))
    rows = pyarrow.dataset.dataset(local.path("captions")).to_table().to_pylist()
    assert [row["id"] for row in rows] == ["a", "c"]
    assert rows[0] == {
        "image_uri": "file:///photos/a.jpg",
        "id": "a",
        "sha256": hashlib.sha256(b"a").hexdigest(),
        "width": 640,
        "height": 480,
        "caption": "a in oil",
        "flags": [],
        "score": -1.5,
        "alternatives": [{"caption": "a in oil", "score": -1.5}],
        "repairs": ["exif-orientation"],
        "fingerprint": FINGERPRINT,
        "run_started": START,
        # Of captioners that say so.
        **dict.fromkeys(("model", "prompt_digest", "tokens_in", "tokens_out", "finish_reason", "confidence")),
    }
    assert pyarrow.dataset.dataset(local.path("failures")).to_table()["id"].to_pylist() == ["b"]


def test_a_failure_counts_its_earlier_attempts(output):
    do(output, shard("s", "a", attempts=4), failing="a")
    assert attempts_of(output) == [("a", 5)]


def test_only_failures_make_no_data_file(output):
    receipt = do(output, shard("s", "a", "b"), failing="ab")
    assert receipt.rows is None
    assert receipt.failures.ids == ("a", "b")
    assert output.files("captions") == []
    assert len(output.files("failures")) == 1


def test_only_rows_make_no_failure_file(output):
    receipt = do(output, shard("s", "a"))
    assert receipt.failures is None
    assert output.files("failures") == []


def test_a_shard_committed_twice_is_there_once(output):
    do(output, shard("s", "a", "b"), failing="b")
    once = contents(output)
    do(output, shard("s", "b", "a"), failing="b")  # a duplicate bundle, its references in another order
    twice = contents(output)
    assert twice.keys() == once.keys()
    assert captions_of(output) == [("a", "a in oil")]
    assert attempts_of(output) == [("b", 1)]


def test_other_questions_get_other_names(output):
    other_run = run_of(output, fingerprint="another")
    receipts = [
        do(output, shard("s", "a")),
        do(output, shard("s", "b")),
        do(output, shard("s", "a", "b")),
        do(output, shard("t", "a")),
        do(output, shard("s", "a"), run=other_run),
    ]
    assert len({receipt.stem for receipt in receipts}) == 5
    assert receipts[-1].fingerprint == "another"


def test_the_name_says_what_was_asked_not_what_came_out(output):
    first = do(output, shard("s", "a", "b"))
    later = do(output, shard("s", "a", "b", attempts=3), failing="a", run=run_of(output, started=LATER))
    assert later.stem == first.stem
    assert captions_of(output) == [("b", "b in oil")]
    assert attempts_of(output) == [("a", 4)]


WRONG = {
    "loses one": lambda outcomes: outcomes[:1],
    "loses all": lambda outcomes: [],
    "repeats a row": lambda outcomes: [*outcomes, outcomes[0]],
    "row and failure": lambda outcomes: [*outcomes, FailureRow("u", "a", "read", "E", "m", 1, START)],
    "invents a row": lambda outcomes: [*outcomes, outcomes[0]._replace(id="z")],
    "renames a row": lambda outcomes: [outcomes[0]._replace(id="z"), outcomes[1]],
    "failure of another": lambda outcomes: [outcomes[0], FailureRow("u", "z", "read", "E", "m", 1, START)],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_process_that_loses_or_invents_ids_commits_nothing(output, wrong):
    run = run_of(output)
    right = FakeJob(frozenset("b")).open(run)
    with pytest.raises(RuntimeError, match="shard s: .* of 2 ids"):
        commit_shard(shard("s", "a", "b"), lambda todo: wrong(list(right(todo))), run)
    assert contents(output) == {}


def test_an_exception_half_way_commits_nothing(output):
    def process(todo):
        yield from FakeJob().open(run)(shard("s", "a"))
        raise KeyError("a bug")

    run = run_of(output)
    with pytest.raises(KeyError, match="a bug"):
        commit_shard(shard("s", "a", "b"), process, run)
    assert contents(output) == {}


def test_the_receipt_is_written_last_and_the_rows_first():
    """Whatever a kill leaves can be told from the data files."""
    left = []
    # The first operation clears away the receipt of a twin.
    for operations in range(1, 5):
        dying = DyingStorage(f"memory://commit-{operations}")
        dying.live(operations)
        try:
            do(dying, shard("s", "a", "b"), failing="b")
        except Killed:
            left.append([name.split("/")[0] for name in sorted(contents(dying), reverse=True)])
        else:
            left.append("whole")
        dying.remove()
    assert left == [[], ["captions"], ["failures", "captions"], "whole"]


def test_an_output_that_cannot_be_written_is_an_os_error(output):
    class Full:
        run = ""

        def write(self, name, data):
            raise StorageError("disk full")

        def delete(self, name):
            pass

    run = run_of(output)._replace(output=Full())
    with pytest.raises(OSError, match="disk full"):
        commit_shard(shard("s", "a"), FakeJob().open(run), run)


def test_an_empty_shard_writes_only_its_receipt(output):
    receipt = do(output, Shard("s", ()))
    assert (receipt.rows, receipt.failures) == (None, None)
    assert sorted(contents(output)) == [receipt.name]


def test_receipts_survive_json():
    rows = stamp("captions/x.parquet", b"data", ["a", "é\u2028\U0001f600"])
    for receipt in (
        Receipt("x", "f", START.isoformat(), 1.5, rows, None),
        Receipt("x", "f", START.isoformat(), 1.5, None, rows),
        Receipt("x", "f", START.isoformat(), 0.0, None, None),
    ):
        again = Receipt.from_json(receipt.to_json())
        assert again == receipt
        assert hash(again) == hash(receipt)  # tuples, not lists
    assert rows.sha256 == "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"  # printf data | sha256sum
    assert rows.size == 4


GOOD = json.loads(Receipt("x", "f", "t", 1.0, stamp("n", b"", ["a"]), None).to_json())
DAMAGED = {
    "empty": b"",
    "cut": json.dumps(GOOD).encode()[:-9],
    "binary": b"\x00\xff\xfe",
    "list": b"[]",
    "number": b"7",
    "null": b"null",
    "no rows": json.dumps({name: value for name, value in GOOD.items() if name != "rows"}).encode(),
    "rows of text": json.dumps({**GOOD, "rows": "captions"}).encode(),
    "rows without ids": json.dumps({**GOOD, "rows": {"name": "n", "size": 0, "sha256": ""}}).encode(),
    "ids of a number": json.dumps({**GOOD, "rows": {**GOOD["rows"], "ids": 3}}).encode(),
    "a field too many": json.dumps({**GOOD, "colour": "red"}).encode(),
    "a field of the file too many": json.dumps({**GOOD, "rows": {**GOOD["rows"], "colour": "red"}}).encode(),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_receipt_is_a_value_error(data):
    with pytest.raises(ValueError):  # noqa: PT011 - json, Unicode and our own errors are all of them ValueErrors
        Receipt.from_json(data)


def test_a_stop_lets_the_commit_in_hand_finish_and_no_other_of_its_run_begin(local):
    writing, may_go_on = threading.Event(), threading.Event()

    class SlowStorage(type(local)):
        def write(self, name, data):
            writing.set()
            assert may_go_on.wait(10)
            super().write(name, data)

    lease = Lease(local)
    with lease:
        slow = SlowStorage(local.root, run=lease.token)
        first = threading.Thread(target=do, args=(slow, shard("first", "a", "b"), "b"))
        first.start()
        assert writing.wait(10)
        stopper = threading.Thread(target=critical_section.stop, args=(lease.token, 10.0))
        stopper.start()
        stopper.join(0.05)
        assert stopper.is_alive()  # it waits for the commit in hand
        may_go_on.set()
        first.join(10)
        stopper.join(10)
        assert not stopper.is_alive()
        assert len(contents(local).keys() - {FILE}) == 3
        with pytest.raises(critical_section.RunStoppedError):
            do(slow, shard("second", "c"))
    assert captions_of(local) == [("a", "a in oil")]
    # The next run of the same process has nothing to do with it.
    with Lease(local) as next_one:
        do(type(local)(local.root, run=next_one.token), shard("second", "c"))
    assert captions_of(local) == [("a", "a in oil"), ("c", "c in oil")]


def test_formats_refuse_what_is_newer_or_no_parquet(output):
    data = FAILURES.encode([FailureRow("u", "a", "read", "E", "m", 1, START)])
    assert FAILURES.read(data, "name")["id"].to_pylist() == ["a"]
    for damaged in (b"", b"PAR1", data[:-20], data[20:], b"text"):
        with pytest.raises(ValueError, match="name is not readable Parquet"):
            FAILURES.read(damaged, "name")
