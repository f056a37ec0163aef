import datetime
import threading

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.pending import (
    CommitShards,
    ReadPending,
    write_pending,
)
from beamscribe.pipelines.work.shards import PendingItem, Shard, ShardPlan, bucket
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.receipt import Receipt
from tests.pipelines.fake_job import (
    ROWS,
    START,
    FakeJob,
    attempts_of,
    captions_of,
    contents,
    noted,
    reference,
    references,
    run_of,
    shard,
)

LATER = START + datetime.timedelta(days=1)
# Of two shards, by bucket() whose values test_shards.py pins.
EVEN = tuple(id for id in "abcdefgh" if bucket(id, 2) == 0)
ODD = tuple(id for id in "abcdefgh" if bucket(id, 2) == 1)


@pytest.fixture
def output(memory):
    """In memory alone: a pipeline takes a second, and storage has tests of its own."""
    return memory


def pipeline():
    return test_pipeline.TestPipeline(runner="FnApiRunner")


def commit(output, *ids, failing="", attempts=0, started=START):
    run = run_of(output, started=started)
    return commit_shard(shard("earlier", *ids, attempts=attempts), FakeJob(frozenset(failing)).open(run), run)


def pending(output, refs, receipts=(), shards=2, retry_failed=False):
    """As the launcher does it."""
    corpus = WorkItems.of(refs)
    found = Ledger(output, ROWS).completion_of(corpus.ids, receipts)
    cut = ShardPlan(corpus, found.attempts(), found.pending(retry_failed), shards, 2)
    return write_pending(output, cut), ReadPending(output)


def assert_pending(output, refs, expected, **kwargs):
    parts, transform = pending(output, refs, **kwargs)
    with pipeline() as p:
        assert_that(p | beam.Create(parts) | transform, equal_to(expected))


def todo(*ids, attempts=0):
    return tuple(PendingItem(reference(id), attempts) for id in ids)


def test_the_letters_fall_into_both_shards():
    assert len(EVEN) >= 2
    assert len(ODD) >= 2


def test_a_new_corpus_is_all_pending(output):
    expected = [Shard("00000-of-00002", todo(*EVEN)), Shard("00001-of-00002", todo(*ODD))]
    assert_pending(output, references(*"hgfedcba"), expected)


def test_done_ids_are_dropped_and_shards_stay_as_they_were_cut(output):
    done = commit(output, EVEN[0], ODD[0])
    expected = [Shard("00000-of-00002", todo(*EVEN[1:])), Shard("00001-of-00002", todo(*ODD[1:]))]
    assert_pending(output, references(*"abcdefgh"), expected, receipts=[done])


def test_a_shard_that_is_done_is_not_there(output):
    done = [commit(output, *EVEN[:1]), commit(output, *EVEN[1:])]
    assert_pending(output, references(*"abcdefgh"), [Shard("00001-of-00002", todo(*ODD))], receipts=done)


def test_only_receipts_that_count_are_subtracted(output):
    commit(output, *EVEN)
    counts = commit(output, *ODD)
    assert_pending(output, references(*"abcdefgh"), [Shard("00000-of-00002", todo(*EVEN))], receipts=[counts])


def test_committed_ids_that_left_the_corpus_do_no_harm(output):
    done = commit(output, *"abcdefgh", failing="b")
    assert_pending(output, references("z"), [Shard("00000-of-00001", todo("z"))], receipts=[done], shards=1)


def test_failures_count_as_done(output):
    done = commit(output, *"abcdefgh", failing="bc")
    assert_pending(output, references(*"abcdefgh"), [], receipts=[done])


def test_failures_are_tried_again_when_asked_for(output):
    done = [
        commit(output, *"abcdefgh", failing="bcd", attempts=1),
        commit(output, "b", failing="b", attempts=2, started=LATER),
        commit(output, "c", started=LATER),
    ]
    expected = [Shard("00000-of-00001", (PendingItem(reference("b"), 3), PendingItem(reference("d"), 2)))]
    assert_pending(output, references(*"abcdefgh"), expected, receipts=done, shards=1, retry_failed=True)


def inside(container, *places):
    return [WorkItem(f"{container}-{place}", f"{container}::{place}", container=container) for place in places]


def test_what_lies_in_one_container_stays_together(output):
    refs = [*inside("one.tar", *"123456789"), *inside("two.tar", *"123"), *inside("three.tar", "1")]
    run = run_of(output)
    done = commit_shard(Shard("s", tuple(PendingItem(ref) for ref in [*refs[:2], refs[-1]])), FakeJob().open(run), run)
    parts, transform = pending(output, refs, [done], shards=8)
    with pipeline() as p:
        shards = p | beam.Create(parts) | transform
        held = shards | beam.Map(lambda shard: [item.reference.id for item in shard.todo])
        assert_that(
            held, equal_to([[f"one.tar-{place}" for place in "3456789"], [f"two.tar-{place}" for place in "123"]])
        )
        names = shards | beam.Map(lambda shard: len(shard.name)) | beam.combiners.Count.PerElement()
        assert_that(names, equal_to([(16, 2)]), label="names")


@pytest.mark.slow
def test_what_has_one_group_stays_together(output):
    """Equal texts are spoken in one shard, however many images have them and whatever else is there."""
    refs = [WorkItem(str(n), "u", text=f"Text {n % 5}", group=f"text {n % 5}") for n in range(40)]
    parts, transform = pending(output, refs, shards=8)
    with pipeline() as p:
        groups = (
            p
            | beam.Create(parts)
            | transform
            | beam.FlatMap(lambda shard: {(item.reference.group, shard.name) for item in shard.todo})
            | beam.Keys()
        )
        assert_that(groups, equal_to([f"text {n}" for n in range(5)]))


def test_what_is_pending_has_parts_and_a_smaller_rest_leaves_none_behind(output, monkeypatch):
    monkeypatch.setattr("beamscribe.pipelines.commits.pending.PART_SIZE", 3)
    refs = [*inside("one.tar", *"12345"), *references(*"abcd")]
    parts, transform = pending(output, refs, shards=1)
    assert len(parts) == 2
    with pipeline() as p:
        sizes = p | beam.Create(parts) | transform | beam.Map(lambda shard: len(shard.todo))
        assert_that(sizes, equal_to([5, 4]))
    assert len(pending(output, refs[:2])[0]) == 1
    assert len(output.files("_beamscribe/pending")) == 1
    assert write_pending(output, ()) == []
    assert output.files("_beamscribe/pending") == []


def test_ids_with_any_line_ends_are_read_back(output):
    refs = [WorkItem(f"{end}{n}", f"u{end}") for n, end in enumerate(("\n", "\r\n", "\x85", "\u2028", "\x1e"))]
    parts, transform = pending(output, refs, shards=4)
    with pipeline() as p:
        held = p | beam.Create(parts) | transform | beam.FlatMap(lambda shard: [item.reference for item in shard.todo])
        assert_that(held, equal_to(refs))


def test_a_part_of_another_run_is_never_overwritten(output):
    refs = references(*"abc")
    earlier, _ = pending(output, refs)
    later, _ = pending(output, refs, receipts=[commit(output, "a")])
    assert set(earlier).isdisjoint(later)


def test_a_damaged_part_is_named(output):
    [part], transform = pending(output, references("a"), shards=1)
    output.write(part, output.read(part)[:-5] + b"\n")
    with pytest.raises(Exception, match=rf"{part} is damaged"), pipeline() as p:
        _ = p | beam.Create([part]) | transform


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "job.log")


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_commits_shards_and_tells_what_was_written(output, log, at_once):
    job = FakeJob(frozenset("b"), log=log, shards_at_once=at_once)
    with pipeline() as p:
        receipts = (
            p
            | beam.Create([shard("s", "a", "b"), shard("t", "c"), shard("u", "d")])
            | CommitShards(job, run_of(output))
        )
        told = receipts | beam.Map(
            lambda receipt: (receipt.stem[0], receipt.rows.ids, receipt.failures and receipt.failures.ids)
        )
        assert_that(told, equal_to([("s", ("a",), ("b",)), ("t", ("c",), None), ("u", ("d",), None)]))
    assert captions_of(output) == [("a", "a in oil"), ("c", "c in oil"), ("d", "d in oil")]
    assert attempts_of(output) == [("b", 1)]
    stored = [Receipt.from_json(output.read(entry.name)) for entry in output.files("_beamscribe/shards")]
    assert [receipt.fingerprint for receipt in stored] == [run_of(output).fingerprint] * 3


def test_the_model_is_loaded_once_for_all_shards(output, log):
    shards = [shard(f"s{n}", str(n)) for n in range(20)]
    with pipeline() as p:
        _ = p | beam.Create(shards) | CommitShards(FakeJob(log=log), run_of(output))
    assert noted(log).count("open") == 1
    assert len(noted(log)) == 21


def test_two_runs_in_one_process_do_not_share_a_model(output, log):
    for style, id in (("oil", "a"), ("ink", "b")):
        with pipeline() as p:
            _ = p | beam.Create([shard("s", id)]) | CommitShards(FakeJob(style=style, log=log), run_of(output))
    assert noted(log).count("open") == 2
    assert captions_of(output) == [("a", "a in oil"), ("b", "b in ink")]


def test_nothing_pending_loads_no_model(output, log):
    done = commit(output, *"abcdefgh", failing="b")
    parts, transform = pending(output, references(*"abcdefgh"), [done])
    before = contents(output)
    with pipeline() as p:
        _ = p | beam.Create(parts) | transform | CommitShards(FakeJob(log=log), run_of(output, started=LATER))
    assert noted(log) == []
    assert contents(output) == before


def test_retries_are_committed_with_one_attempt_more(output, log):
    done = commit(output, *"abcdefgh", failing="bc")
    parts, transform = pending(output, references(*"abcdefgh"), [done], shards=1, retry_failed=True)
    with pipeline() as p:
        _ = (
            p
            | beam.Create(parts)
            | transform
            | CommitShards(FakeJob(frozenset("c"), log=log), run_of(output, started=LATER))
        )
    assert noted(log) == ["open", "b c"]
    assert attempts_of(output) == [("b", 1), ("c", 1), ("c", 2)]
    assert ("b", "b in oil") in captions_of(output)


def test_counts_rows_failures_bytes_and_milliseconds_under_the_job(output):
    p = beam.Pipeline(runner="FnApiRunner")
    _ = (
        p
        | beam.Create([shard("s", "a", "b", "c"), shard("t", "d")])
        | CommitShards(FakeJob(frozenset("bc")), run_of(output))
    )
    result = p.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("FakeJob"))
    counted = {item.key.metric.name: item.result for item in found["counters"]}
    size = sum(entry.size for folder in ("captions", "failures") for entry in output.files(folder))
    measured = {"batches": 0, "batched": 0, "duplicates": 0, "read_bytes": 0}
    made = {"images": 4, "rows": 2, "failures": 2, "failures_read": 2, "written_bytes": size}
    assert counted == made | measured
    timed = {item.key.metric.name: item.result.count for item in found["distributions"]}
    assert timed == dict.fromkeys(("shard_msec", "read_msec", "decode_msec", "infer_msec", "write_msec"), 2)


def test_a_worker_has_as_many_shards_in_hand_as_the_job_wants(output):
    together = threading.Barrier(2, timeout=20)

    class Meeting(FakeJob):
        def open(self, run):
            process = super().open(run)

            def meet(shard):
                together.wait()
                yield from process(shard)

            return meet

    with pipeline() as p:
        shards = [shard(f"s{n}", str(n)) for n in range(4)]
        _ = p | beam.Create(shards, reshuffle=False) | CommitShards(Meeting(shards_at_once=2), run_of(output))
    assert len(captions_of(output)) == 4


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_crash_stops_the_pipeline_and_leaves_what_was_committed(output, at_once):
    shards = [shard(f"s{n}", str(n)) for n in range(5)]
    with pytest.raises(Exception, match="the fake job crashed"), pipeline() as p:
        _ = (
            p
            | beam.Create(shards, reshuffle=False)
            | CommitShards(FakeJob(crash_after=3, shards_at_once=at_once), run_of(output))
        )
    assert len(captions_of(output)) == 3
