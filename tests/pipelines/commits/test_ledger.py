import contextlib
import datetime
import json
import uuid

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.completion import newest_failures
from beamscribe.pipelines.commits.ledger import Ledger, count_failures
from beamscribe.pipelines.work.shards import ShardPlan
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.receipt import Receipt, stamp
from beamscribe.schemas.rows import FAILURES, read_failures
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import (
    FINGERPRINT,
    ROWS,
    START,
    FakeJob,
    attempts_of,
    captions_of,
    contents,
    references,
    run_of,
    shard,
)

LATER = START + datetime.timedelta(days=1)


def do(output, shard, failing=(), started=START, fingerprint=FINGERPRINT):
    run = run_of(output, fingerprint, started)
    return commit_shard(shard, FakeJob(frozenset(failing)).open(run), run)


def ledger(output):
    return Ledger(output, ROWS)


def failure_row(id, attempts, started=START, message="m"):
    return FailureRow(f"file:///photos/{id}.jpg", id, "read", "FakeError", message, attempts, started)


def assert_receipts_agree(output, receipts):
    """Each data file has one receipt that describes its bytes, no receipt has a missing file."""
    described = {file.name: file for receipt in receipts for file in (receipt.rows, receipt.failures) if file}
    files = {entry.name for folder in ("captions", "failures") for entry in output.files(folder)}
    assert described.keys() == files
    for name, file in described.items():
        data = output.read(name)
        keys = (
            ROWS.read(data, name)["id"].to_pylist()
            if name.startswith("captions/")
            else [row.id for row in read_failures(data, name)]
        )
        assert file == stamp(name, data, keys)
    stored = [entry.name for entry in output.files("_beamscribe/shards")]
    assert stored == sorted(receipt.name for receipt in receipts)
    assert {Receipt.from_json(output.read(name)) for name in stored} == set(receipts)


def test_an_empty_output_has_no_receipts(output):
    assert ledger(output).receipts() == []
    assert ledger(output).settle(FINGERPRINT) == []
    assert ledger(output).sweep([]) == []


def test_a_whole_output_is_left_as_it_is(output):
    made = [do(output, shard("s", "a", "b"), "b"), do(output, shard("t", "c")), do(output, shard("u", "d"), "d")]
    before = contents(output)
    assert set(ledger(output).receipts()) == set(made)
    assert set(ledger(output).settle("another")) == set(made)
    assert set(ledger(output).sweep(made)) == set(made)
    assert contents(output) == before


def test_committed_ids_and_their_attempts(output):
    both = do(output, shard("s", "a", "b", attempts=2), "b")
    assert held(output, both) == (["a"], {"b": 3})
    assert held(output, do(output, shard("t", "c"))) == (["c"], {})
    assert held(output, do(output, shard("u", "d"), "d")) == ([], {"d": 1})


def held(output, receipt):
    """Ids of `abcd` that a commit has a row of, and attempts of those that it has a failure of."""
    corpus = WorkItems.of(references(*"abcd"))
    found = ledger(output).completion_of(corpus.ids, [receipt])
    left = {*found.todo, *found.failed}
    return [one.id for place, one in enumerate(corpus) if place not in left], found.attempts()


@pytest.mark.parametrize("failing", ["", "b", "ab"])
def test_a_lost_receipt_is_made_again_from_the_files(output, failing):
    made = do(output, shard("s", "a", "b"), failing)
    other = do(output, shard("t", "c"))
    output.delete(made.name)
    assert ledger(output).receipts() == [other]
    settled = ledger(output).settle(FINGERPRINT)
    [restored] = [receipt for receipt in settled if receipt != other]
    assert restored._replace(run_started="", seconds=0, committed_at="", spent=None, failed_stages=()) == made._replace(
        run_started="", seconds=0, committed_at="", spent=None, failed_stages=()
    )
    assert_receipts_agree(output, settled)


def test_a_restored_receipt_has_the_fingerprint_of_its_rows(output):
    old = do(output, shard("s", "a"), fingerprint="old")
    only_failures = do(output, shard("t", "b"), "b", fingerprint="latest")
    output.delete(old.name)
    output.delete(only_failures.name)
    settled = {receipt.stem: receipt.fingerprint for receipt in ledger(output).settle("latest")}
    assert settled == {old.stem: "old", only_failures.stem: "latest"}


def test_a_restored_receipt_does_not_claim_to_be_of_this_run(output):
    output.delete(do(output, shard("s", "a")).name)
    [restored] = ledger(output).settle(FINGERPRINT)
    assert restored.run_started != LATER.isoformat()


DAMAGES = {
    "cut": lambda data: data[:-5],
    "empty": lambda data: b"",
    "another name": lambda data: data.replace(b'"stem": "s-', b'"stem": "x-'),
    "another size": lambda data: json.dumps(
        {**json.loads(data), "rows": {**json.loads(data)["rows"], "size": 7}}
    ).encode(),
    "forgets the failures": lambda data: json.dumps({**json.loads(data), "failures": None}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_receipt_is_made_again(output, damage):
    made = do(output, shard("s", "a", "b"), "b")
    output.write(made.name, damage(output.read(made.name)))
    [restored] = ledger(output).settle(FINGERPRINT)
    assert restored._replace(run_started="", seconds=0, committed_at="", spent=None, failed_stages=()) == made._replace(
        run_started="", seconds=0, committed_at="", spent=None, failed_stages=()
    )
    assert_receipts_agree(output, [restored])


@pytest.mark.parametrize("gone", ["rows", "failures"])
def test_half_a_commit_counts_for_what_it_holds(output, gone):
    made = do(output, shard("s", "a", "b"), "b")
    output.delete(getattr(made, gone).name)
    assert ledger(output).receipts() == []
    [restored] = ledger(output).settle(FINGERPRINT)
    assert getattr(restored, gone) is None
    assert held(output, restored) == (([], {"b": 1}) if gone == "rows" else (["a"], {}))
    assert_receipts_agree(output, [restored])


def test_a_receipt_without_files_is_cleared_away(output):
    made = do(output, shard("s", "a", "b"), "b")
    output.delete(made.rows.name)
    output.delete(made.failures.name)
    assert ledger(output).settle(FINGERPRINT) == []
    assert contents(output) == {}


def test_settling_reads_no_data_file_that_has_its_receipt(output):
    made = do(output, shard("s", "a"))
    data = bytearray(output.read(made.rows.name))
    data[:] = b"x" * len(data)
    output.write(made.rows.name, bytes(data))
    assert ledger(output).settle(FINGERPRINT) == [made]


def test_a_damaged_data_file_without_a_receipt_is_named(output):
    made = do(output, shard("s", "a"))
    output.write(made.rows.name, b"cut")
    with pytest.raises(ValueError, match=made.rows.name):
        ledger(output).settle(FINGERPRINT)


def test_a_data_file_without_rows_is_a_value_error(output):
    output.write("captions/none.parquet", ROWS.encode([]))
    with pytest.raises(ValueError, match="captions/none.parquet"):
        ledger(output).settle(FINGERPRINT)


def test_a_data_file_of_another_schema_is_a_value_error(output):
    output.write("captions/failures.parquet", FAILURES.encode([failure_row("a", 1)]))
    with pytest.raises(ValueError, match="captions/failures.parquet"):
        ledger(output).settle(FINGERPRINT)


def test_a_row_beats_the_failure_of_its_id(output):
    first = do(output, shard("s", "a", "b", "c"), "bc")
    again = do(output, shard("s", "b", "c", attempts=1), "c", LATER)
    swept = ledger(output).sweep([first, again])
    assert captions_of(output) == [("a", "a in oil"), ("b", "b in oil")]
    assert attempts_of(output) == [("c", 2)]
    assert {receipt.stem for receipt in swept} == {first.stem, again.stem}
    assert_receipts_agree(output, swept)
    assert swept == [swept[0]._replace(failures=None), again]
    assert [entry.name for entry in output.files("failures")] == [again.failures.name]


def test_a_failure_file_is_written_anew_without_what_is_superseded(output):
    first = do(output, shard("s", "a", "b", "c"), "abc")
    again = do(output, shard("s", "b", attempts=1), started=LATER)
    swept = ledger(output).sweep([first, again])
    assert attempts_of(output) == [("a", 1), ("c", 1)]
    assert swept[0].failures.ids == ("a", "c")
    assert_receipts_agree(output, swept)


def test_a_commit_of_which_nothing_is_left_goes(output):
    first = do(output, shard("s", "a"), "a")
    again = do(output, shard("t", "a", attempts=1), started=LATER)
    assert ledger(output).sweep([first, again]) == [again]
    assert sorted(contents(output)) == [again.name, again.rows.name]


def test_the_newest_failure_wins(output):
    receipts = [
        do(output, shard("s", "a", attempts=1), "a", LATER),
        do(output, shard("t", "a", attempts=0), "a", START),
        do(output, shard("u", "b", attempts=0), "b", START),
        do(output, shard("v", "b", attempts=0), "b", LATER),
    ]
    swept = ledger(output).sweep(receipts)
    assert swept == [receipts[0], receipts[3]]
    assert attempts_of(output) == [("a", 2), ("b", 1)]
    assert_receipts_agree(output, swept)


def test_sweeping_twice_changes_nothing_more(output):
    do(output, shard("s", "a", "b", "c"), "abc")
    do(output, shard("s", "b", "c", attempts=1), "c", LATER)
    once = ledger(output).sweep(ledger(output).receipts())
    before = contents(output)
    assert ledger(output).sweep(once) == once
    assert contents(output) == before


def test_removing_commits_takes_all_their_files_and_no_others(output):
    gone = [do(output, shard("s", "a", "b"), "b"), do(output, shard("t", "c"), "c"), do(output, shard("u", "d"))]
    kept = do(output, shard("v", "e", "f"), "f")
    ledger(output).remove(gone)
    assert sorted(contents(output)) == sorted([kept.name, kept.rows.name, kept.failures.name])


def test_a_kill_while_removing_leaves_no_data_without_its_receipt():
    for operations in range(4):
        dying = DyingStorage(f"memory://remove-{operations}")
        receipt = do(dying, shard("s", "a", "b"), "b")
        dying.live(operations)
        try:
            ledger(dying).remove([receipt])
        except Killed:
            assert dying.exists(receipt.name)
        else:
            assert operations == 3
            assert contents(dying) == {}
        dying.remove()


def test_counts_failures_by_stage_and_type():
    rows = [failure_row("a", 1), failure_row("b", 2), failure_row("c", 1)._replace(stage="decode")]
    assert count_failures(rows) == {("read", "FakeError"): 2, ("decode", "FakeError"): 1}


NEWER = "ffeeddccbbaa9988"


def replace_some(output):
    """a to f under earlier settings (b and e failed); then a, b and d again, of which d failed."""
    do(output, shard("one", *"abc"), "b")
    do(output, shard("two", *"def"), "e")
    do(output, shard("three", *"g"), "g")
    do(output, shard("four", *"abd"), "d", LATER, NEWER)


def remove_done(output):
    receipts = ledger(output).settle(NEWER)
    by_age = [[one for one in receipts if (one.fingerprint == NEWER) is newer] for newer in (False, True)]
    ledger(output).remove_done(*by_age)


@pytest.mark.slow
@pytest.mark.parametrize("operations", [*range(14), None])
def test_only_what_was_done_again_is_removed_wherever_a_run_is_killed(operations):
    output = DyingStorage(f"memory://{uuid.uuid4().hex}")
    replace_some(output)
    before = set(captions_of(output))
    output.live(operations)
    with contextlib.suppress(Killed):
        remove_done(output)
    output.live(None)
    assert {id for id, _ in captions_of(output)} >= set("abcf")
    assert set(captions_of(output)) <= before
    remove_done(output)
    receipts = ledger(output).settle(NEWER)
    assert_receipts_agree(output, receipts)
    held = {(one.fingerprint, file.ids) for one in receipts for file in (one.rows, one.failures) if file}
    assert held == {
        (FINGERPRINT, ("c",)),
        (FINGERPRINT, ("f",)),
        (FINGERPRINT, ("e",)),
        (FINGERPRINT, ("g",)),
        (NEWER, ("a", "b")),
        (NEWER, ("d",)),
    }
    again = contents(output)
    remove_done(output)
    assert contents(output) == again
    output.remove()


def test_a_damaged_file_is_not_parted(local):
    replace_some(local)
    [name] = [entry.name for entry in local.files("captions") if "one" in entry.name]
    data = local.read(name)
    local.write(name, data[:4] + bytes(len(data) - 4))
    receipts = ledger(local).receipts()
    newer = [one for one in receipts if one.fingerprint == NEWER]
    ledger(local).remove_done([one for one in receipts if one not in newer], newer)
    assert local.exists(name)
    local.delete(name)
    assert [id for id, _ in captions_of(local)] == ["a", "b", "f"]


IDS = "abcdefgh"
SOME = st.frozensets(st.sampled_from(IDS))


class Conservation(RuleBasedStateMachine):
    """Runs of a job over the same corpus: cut anew each time, killed anywhere, with duplicates and retries.

    However they are interleaved, an id is one row, or one failure row, or still to do, and what is done stays done.
    """

    def __init__(self):
        super().__init__()
        self.output = DyingStorage(f"memory://{uuid.uuid4().hex}")
        self.started = START
        self.rows: set[str] = set()
        self.failures: dict[str, int] = {}
        self.last = None

    def teardown(self):
        self.output.remove()

    @initialize()
    def begin(self):
        self.settle()

    def files(self, folder):
        return [self.output.read(entry.name) for entry in self.output.files(folder)]

    def settle(self):
        """What the launcher does before and after a job, and what must be true then."""
        rows = [key.id for data in self.files("captions") for key in ROWS.read_keys(data, "")]
        failures = [row for data in self.files("failures") for row in read_failures(data, "")]
        receipts = ledger(self.output).sweep(ledger(self.output).settle(FINGERPRINT))
        rows_after = sorted(id for id, _ in captions_of(self.output))
        assert rows_after == sorted(set(rows))  # no id has two rows, and a sweep touches none
        newest = newest_failures(failures)
        expected = [(id, newest[id].attempts) for id in sorted(newest.keys() - set(rows))]
        assert attempts_of(self.output) == expected
        assert_receipts_agree(self.output, receipts)
        self.rows, self.failures = set(rows), dict(expected)
        return receipts

    def run(self, failing, size, retry, operations):
        self.started += datetime.timedelta(minutes=1)
        self.output.live(operations)
        try:
            self.run_until_killed(failing, size, retry)
        except Killed:
            pass
        finally:
            self.output.live(None)
        self.settle()

    def run_until_killed(self, failing, size, retry):
        receipts = ledger(self.output).sweep(ledger(self.output).settle(FINGERPRINT))
        corpus = WorkItems.of(references(*IDS))
        found = ledger(self.output).completion_of(corpus.ids, receipts)
        for self.last in ShardPlan(corpus, found.attempts(), found.pending(retry), size, 1):
            do(self.output, self.last, failing, self.started)
        ledger(self.output).sweep(ledger(self.output).settle(FINGERPRINT))

    @rule(failing=SOME, size=st.sampled_from([1, 2, 4]), retry=st.booleans())
    def a_run(self, failing, size, retry):
        rows, failures = self.rows, self.failures
        self.run(failing, size, retry, None)
        tried = set(IDS) - rows - (set() if retry else failures.keys())
        assert self.rows == rows | (tried - failing)
        again = {id: failures.get(id, 0) + 1 for id in tried & failing}
        assert self.failures == {id: count for id, count in failures.items() if id not in tried} | again

    @rule(failing=SOME, size=st.sampled_from([1, 2, 4]), retry=st.booleans(), operations=st.integers(0, 25))
    def a_killed_run(self, failing, size, retry, operations):
        rows, failures = self.rows, self.failures
        self.run(failing, size, retry, operations)
        assert rows <= self.rows
        assert failures.keys() <= self.rows | self.failures.keys()
        assert all(count <= self.failures[id] for id, count in failures.items() if id in self.failures)

    @rule(failing=SOME, operations=st.none() | st.integers(0, 3))
    def a_duplicate_bundle(self, failing, operations):
        """A cluster runs the last shard again; what failed there may go well here."""
        if self.last is None:
            return
        asked = {item.reference.id for item in self.last.todo}
        rows, failures = self.rows, self.failures
        self.output.live(operations)
        try:
            do(self.output, self.last, failing, self.started)
        except Killed:
            pass
        finally:
            self.output.live(None)
        self.settle()
        assert rows - asked <= self.rows
        assert (rows | failures.keys()) - asked <= self.rows | self.failures.keys()
        if operations is None:
            assert asked <= self.rows | self.failures.keys()

    @rule(which=st.integers(0, 10))
    def a_receipt_is_lost(self, which):
        rows, failures = self.rows, self.failures
        names = [entry.name for entry in self.output.files("_beamscribe/shards")]
        if names:
            self.output.delete(names[which % len(names)])
        self.settle()
        assert (self.rows, self.failures) == (rows, failures)

    @rule(which=st.integers(0, 10))
    def a_file_is_lost(self, which):
        """Its ids are to do again, and nobody else's."""
        names = [entry.name for folder in ("captions", "failures") for entry in self.output.files(folder)]
        if not names:
            return
        name = names[which % len(names)]
        data = self.output.read(name)
        ids = set(ROWS.read(data, name, ["id"])["id"].to_pylist())
        rows, failures = self.rows, self.failures
        self.output.delete(name)
        self.settle()
        assert self.rows == rows - ids
        assert self.failures == {id: count for id, count in failures.items() if id not in ids}

    @invariant()
    def each_id_is_one_row_or_one_failure_or_to_do(self):
        assert not self.rows & self.failures.keys()
        assert self.rows | self.failures.keys() <= set(IDS)


TestConservation = pytest.mark.slow(Conservation.TestCase)
TestConservation.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)
