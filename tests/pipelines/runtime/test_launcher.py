import contextlib
import datetime
import json
import os
import re

import pytest

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.commits.lease import Lease
from beamscribe.pipelines.commits.liveness import STARTED, commit_watched
from beamscribe.pipelines.commits.manifest_file import is_resumed
from beamscribe.pipelines.commits.stored_corpus import read_corpus
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime import assignment, running
from beamscribe.pipelines.runtime import launcher as launch_module
from beamscribe.pipelines.runtime.flags.jobs import JobFlags, failure_bound
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import Skipped, distinct
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import VERSION
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.schemas.rows import FAILURES
from beamscribe.storage.output_reader import MANIFEST, read_manifest_of
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import (
    FakeJob,
    attempts_of,
    captions_of,
    contents,
    failures_of,
    noted,
    references,
    run_of,
    shard,
)

OLD, NEW = Fingerprint({"style": "oil", "size": 3}), Fingerprint({"style": "ink", "size": 3})


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "job.log")


@pytest.fixture
def go(local, log):
    """Launches the fake job; unlike a user it may say every time what fails."""

    def launch_it(
        ids="abcdefgh",
        failing="",
        crash_after=None,
        fingerprint=OLD,
        output=local,
        name="caption",
        repeated=0,
        skipped=(),
        suspicious=(),
        strict=False,
        **flags,
    ):
        flags = {"shard_size": 2, "limit": None, "retry_failed": False, "on_change": "refuse", **flags}
        job = FakeJob(frozenset(failing), fingerprint.fields["style"], crash_after, suspicious, log, name)
        return launch(
            Request(
                job=job,
                corpus=distinct([*references(*ids, *ids[:1] * repeated), *skipped]),
                output=output,
                fingerprint=fingerprint,
                details={"colour": "blue"},
                flags=JobFlags(storage_options={}, **flags),
                options=parse(FlagParser(prog="beamscribe fake"), [])[1],
                strict=strict,
            )
        )

    return launch_it


def last_line(capsys):
    return capsys.readouterr().out.splitlines()[-1]


def all_in(style, ids):
    return [(id, f"{id} in {style}") for id in ids]


def done_in(log):
    """Ids that were processed, in whatever shards; empties the log."""
    lines = noted(log)
    if os.path.exists(log):
        os.unlink(log)
    return sorted(id for line in lines if line not in ("open", "tidied") for id in line.split())


def test_a_first_run(go, local, log, capsys):
    assert go() == DONE
    assert captions_of(local) == all_in("oil", "abcdefgh")
    assert noted(log).count("open") == 1
    assert last_line(capsys) == f"beamscribe caption: 8 in the corpus: 8 done, 0 failed, 0 to do → {local.uri()}"
    assert not local.exists(LEASE)
    assert local.temporaries() == []
    assert verify(local) == (8, 0, 0, ())


def test_the_manifest_says_what_was_asked(go, local):
    before = datetime.datetime.now(datetime.UTC)
    go(repeated=3, skipped=[Skipped("broken link", 3), Skipped("hidden file")])
    manifest = read_manifest_of(local)
    assert (manifest.job, manifest.fingerprint, manifest.kept_fingerprints) == ("caption", OLD, [OLD.digest])
    assert (manifest.references, manifest.repeated, manifest.shards, manifest.listed) == (8, 3, 4, 15)
    assert manifest.skipped == {"broken link": 3, "hidden file": 1}
    assert (manifest.details, manifest.schema_version) == ({"colour": "blue"}, VERSION)
    assert before <= datetime.datetime.fromisoformat(manifest.run_started) <= datetime.datetime.now(datetime.UTC)


def test_rows_carry_the_fingerprint_and_the_start_of_the_run(go, local):
    go("ab")
    [receipt] = [json.loads(local.read(entry.name)) for entry in local.files(RECEIPTS)]
    manifest = read_manifest_of(local)
    assert receipt["fingerprint"] == OLD.digest
    assert receipt["run_started"] == manifest.run_started


@pytest.mark.slow
def test_an_object_store_will_do(go, memory, capsys):
    assert go(output=memory, failing="c") == DONE
    assert go(output=memory, failing="c") == DONE
    assert captions_of(memory) == all_in("oil", "abdefgh")
    assert "8 in the corpus: 7 done, 1 failed, 0 to do" in last_line(capsys)


@pytest.mark.slow
def test_a_larger_corpus_does_only_the_rest_and_a_third_run_nothing(go, local, log, capsys):
    go("abcd")
    assert done_in(log) == list("abcd")
    assert go("abcdefgh") == DONE
    assert done_in(log) == list("efgh")
    assert captions_of(local) == all_in("oil", "abcdefgh")
    out = capsys.readouterr().out
    assert "this run did 4 of 8" in out
    before = contents(local)
    assert go("abcdefgh") == DONE
    assert noted(log) == []  # the model is not even loaded
    assert "this run did 0 of 8" in capsys.readouterr().out
    after = contents(local)
    assert {name for name in after if after[name] != before.get(name)} == {MANIFEST}
    assert after.keys() == before.keys()


@pytest.mark.slow
def test_a_smaller_corpus_keeps_the_rows_and_counts_its_own(go, local, log, capsys):
    go("abcdefgh", failing="ag")
    done_in(log)
    capsys.readouterr()
    assert go("abc") == DONE
    assert done_in(log) == []
    assert captions_of(local) == all_in("oil", "bcdefh")
    assert "3 in the corpus: 2 done, 1 failed, 0 to do" in last_line(capsys)
    assert go("abcxyz") == DONE
    assert done_in(log) == list("xyz")
    assert "6 in the corpus: 5 done, 1 failed, 0 to do" in last_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 100])
def test_another_shard_size_does_nothing_twice(go, local, log, size):
    go("abcd")
    done_in(log)
    go("abcdefgh", shard_size=size)
    assert done_in(log) == list("efgh")
    assert captions_of(local) == all_in("oil", "abcdefgh")


def test_failures_are_counted_and_are_no_error(go, local, log, capsys):
    assert go(failing="bh") == DONE
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"beamscribe caption: 8 in the corpus: 6 done, 2 failed, 0 to do → {local.uri()}"
    assert [line.strip() for line in out].count("2 × read: FakeError") == 1
    done_in(log)
    assert go() == DONE  # they would go well now, but nobody asked
    assert done_in(log) == []
    assert attempts_of(local) == [("b", 1), ("h", 1)]


@pytest.mark.slow
def test_failures_are_tried_again_on_demand(go, local, log, capsys):
    go(failing="bch")
    done_in(log)
    assert go(failing="bh", retry_failed=True) == DONE
    assert done_in(log) == list("bch")
    assert captions_of(local) == all_in("oil", "acdefg")
    assert attempts_of(local) == [("b", 2), ("h", 2)]
    assert "8 in the corpus: 6 done, 2 failed, 0 to do" in last_line(capsys)
    assert go(retry_failed=True) == DONE
    assert captions_of(local) == all_in("oil", "abcdefgh")
    assert attempts_of(local) == []
    assert local.files(FAILURES.folder) == []
    assert verify(local) == (8, 0, 0, ())


def test_other_settings_are_refused_field_by_field(go, local, log):
    go("ab")
    before = contents(local)
    done_in(log)
    with pytest.raises(RefusedError) as caught:
        go("abcd", fingerprint=NEW)
    message = str(caught.value)
    assert "\n  style: oil → ink\n" in message
    assert "size" not in message.replace("--shard-size", "")
    assert "--on-change keep" in message
    assert "--on-change replace" in message
    assert contents(local) == before
    assert done_in(log) == []


@pytest.mark.slow
def test_keep_leaves_old_rows_and_does_new_ids_the_new_way(go, local, log):
    go("abcd", failing="b")
    done_in(log)
    assert go("abcdef", fingerprint=NEW, on_change="keep") == DONE
    assert done_in(log) == list("ef")
    assert captions_of(local) == all_in("oil", "acd") + all_in("ink", "ef")
    assert attempts_of(local) == [("b", 1)]
    assert read_manifest_of(local).kept_fingerprints == [OLD.digest, NEW.digest]
    assert verify(local) == (5, 1, 0, ())
    assert go("abcdef", fingerprint=NEW) == DONE  # resuming needs no --on-change
    assert done_in(log) == []
    assert go("abcdefg", fingerprint=OLD, on_change="keep") == DONE  # and back again
    assert done_in(log) == ["g"]
    assert sorted(read_manifest_of(local).kept_fingerprints) == sorted([OLD.digest, NEW.digest])


def test_replace_does_all_again_and_then_removes_the_old(go, local, log):
    go("abcd", failing="b")
    old = {name for name in contents(local) if name.startswith(("captions/", "failures/", RECEIPTS))}
    done_in(log)
    assert go("abcd", fingerprint=NEW, on_change="replace") == DONE
    assert noted(log)[-1] == "tidied"
    assert done_in(log) == list("abcd")
    assert captions_of(local) == all_in("ink", "abcd")
    assert attempts_of(local) == []
    assert not old & contents(local).keys()
    assert read_manifest_of(local).kept_fingerprints == [NEW.digest]
    assert verify(local) == (4, 0, 0, ())


@pytest.mark.slow
def test_a_replacement_of_a_part_leaves_the_rest_until_it_is_done_too(go, local, log):
    go("abcdefgh", failing="bg", shard_size=4)
    done_in(log)
    assert go("abc", shard_size=4, fingerprint=NEW, on_change="replace") == DONE
    assert done_in(log) == list("abc")
    assert captions_of(local) == sorted(all_in("ink", "abc") + all_in("oil", "defh"))
    assert attempts_of(local) == [("g", 1)]
    assert verify(local) == (3, 0, 0, ())
    # The output is still being replaced, whoever goes on with it.
    assert go("abcdefgh", shard_size=4, fingerprint=NEW, sample=5) == DONE
    assert len(captions_of(local)) == 8 - (attempts_of(local) == [("g", 1)])
    assert go("abcdefgh", shard_size=4, fingerprint=NEW) == DONE
    assert captions_of(local) == all_in("ink", "abcdefgh")
    assert verify(local) == (8, 0, 0, ())


@pytest.mark.slow
def test_a_replacement_that_crashes_keeps_the_old_until_the_new_are_there(go, local, log):
    go("abcdefgh", shard_size=1)
    done_in(log)
    assert go("abcdefgh", shard_size=1, fingerprint=NEW, on_change="replace", crash_after=3) == STOPPED
    captions = captions_of(local)
    assert [pair for pair in captions if "oil" in pair[1]] == all_in("oil", "abcdefgh")
    first = [id for id, text in captions if "ink" in text]
    assert len(first) >= 3
    done_in(log)
    assert go("abcdefgh", shard_size=1, fingerprint=NEW) == DONE
    assert done_in(log) == sorted(set("abcdefgh") - set(first))
    assert captions_of(local) == all_in("ink", "abcdefgh")


@pytest.mark.slow
def test_a_replacement_that_fails_is_a_failure(go, local, capsys):
    go("abcd")
    assert go("abcd", failing="b", fingerprint=NEW, on_change="replace") == DONE
    assert captions_of(local) == all_in("ink", "acd")
    assert attempts_of(local) == [("b", 1)]
    assert "4 in the corpus: 3 done, 1 failed, 0 to do" in last_line(capsys)


@pytest.mark.slow
def test_a_replaced_failure_counts_anew(go, local, capsys):
    go("ab", failing="b")
    go("ab", failing="b", retry_failed=True)
    assert attempts_of(local) == [("b", 2)]
    assert go("ab", failing="b", fingerprint=NEW, on_change="replace") == DONE
    assert attempts_of(local) == [("b", 1)]
    assert "2 in the corpus: 1 done, 1 failed, 0 to do" in last_line(capsys)


def test_a_failure_replaced_by_a_failure(go, local):
    go("ab", failing="b")
    [old] = failures_of(local)
    assert go("ab", failing="b", fingerprint=NEW, on_change="replace") == DONE
    [new] = failures_of(local)
    assert (new.id, new.attempts) == ("b", 1)
    assert new.run_started > old.run_started
    assert captions_of(local) == all_in("ink", "a")


@pytest.mark.slow
@pytest.mark.parametrize("on_change", ["refuse", "keep", "replace"])
def test_an_output_from_before_a_field_was_recorded_goes_on(go, local, log, on_change):
    assert go("abcd") == DONE
    done_in(log)
    now = Fingerprint({**OLD.fields, "search": "1", "pillow": "12.3.0"})
    assert go("abcdef", fingerprint=now, on_change=on_change) == DONE
    assert done_in(log) == list("ef")
    assert [id for id, _ in captions_of(local)] == list("abcdef")
    assert read_manifest_of(local).kept_fingerprints == [OLD.digest, now.digest]
    with pytest.raises(RefusedError, match=r"pillow: 12.3.0 → 13"):
        go("abcdef", fingerprint=Fingerprint({**now.fields, "pillow": "13"}))


@pytest.mark.slow
@pytest.mark.parametrize("on_change", ["refuse", "keep", "replace"])
def test_the_output_of_another_job_is_refused_whatever_is_said_of_changes(go, local, on_change):
    go("ab", name="featurize")
    before = contents(local)
    with pytest.raises(RefusedError, match=r"holds the output of featurize: choose another --output"):
        go("ab", on_change=on_change)
    assert contents(local) == before


@pytest.mark.parametrize("name", ["captions/theirs.parquet", "captions/notes.txt"])
def test_a_folder_with_data_of_someone_else_is_refused(go, local, name):
    local.write(name, b"x")
    with pytest.raises(RefusedError, match=f"holds {name} but no {MANIFEST}"):
        go("ab")
    assert contents(local) == {name: b"x"}


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b'{"job": "caption"}', b"\xff\xfe"])
def test_a_damaged_manifest_is_refused_by_name(go, local, manifest):
    local.write(MANIFEST, manifest)
    with pytest.raises(RefusedError, match=MANIFEST):
        go("ab")
    assert local.read(MANIFEST) == manifest


def test_a_newer_manifest_is_refused(go, local):
    go("ab")
    fields = {**json.loads(local.read(MANIFEST)), "schema_version": VERSION + 1}
    local.write(MANIFEST, json.dumps(fields).encode())
    with pytest.raises(RefusedError, match="upgrade Beamscribe"):
        go("ab")


def test_an_output_that_another_run_writes_is_refused(go, local):
    with Lease(local), pytest.raises(RefusedError, match="is being written by process"):
        go("ab")
    assert contents(local).keys() <= {LEASE}


def test_a_crash_in_the_heart_stops_the_job_and_the_next_run_does_only_the_rest(go, local, log, capsys):
    assert go(shard_size=1, crash_after=3) == STOPPED
    captured = capsys.readouterr()
    assert "the fake job crashed" in captured.err
    done = [id for id, _ in captions_of(local)]
    assert len(done) >= 3
    last = captured.out.splitlines()[-1]
    assert f"8 in the corpus: {len(done)} done, 0 failed, {8 - len(done)} to do" in last
    assert last.endswith("run the same command again")
    assert not local.exists(LEASE)
    assert sorted(done) == done_in(log)
    assert go(shard_size=1) == DONE
    assert done_in(log) == sorted(set("abcdefgh") - set(done))
    assert captions_of(local) == all_in("oil", "abcdefgh")
    assert verify(local) == (8, 0, 0, ())


@pytest.mark.slow
def test_whatever_kills_the_launcher_the_next_run_finishes(go, log, capsys):
    """Dies at each of the first operations of the launcher and of the workers in turn, then runs to the end."""
    for operations in range(0, 18, 2):
        dying = DyingStorage(f"memory://launch-{operations}")
        dying.live(operations)
        with contextlib.suppress(Killed):
            go("abcd", failing="b", output=dying, shard_size=1)
        dying.live(None)
        dying.delete(LEASE)  # its process is this one and alive
        done = {id for id, _ in captions_of(dying)} | {id for id, _ in attempts_of(dying)}
        done_in(log)
        assert go("abcd", failing="b", output=dying, shard_size=1) == DONE
        assert done_in(log) == sorted(set("abcd") - done)
        assert captions_of(dying) == all_in("oil", "acd")
        assert attempts_of(dying) == [("b", 1)]
        assert verify(dying) == (3, 1, 0, ())
        dying.remove()


def test_storage_that_fails_stops_with_what_to_do(go, local, capsys, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(assignment, "write_corpus", full)
    assert go("ab") == STOPPED
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "Run the same command again" in error
    assert not local.exists(LEASE)


@pytest.mark.slow
def test_temporaries_of_a_killed_run_go(go, local):
    go("ab")
    os.makedirs(local.path("audio/ab"))
    for name in ("captions/.x.parquet.12345678.tmp", "audio/ab/.y.mp3.12345678.tmp"):
        with open(local.path(name), "wb"):
            pass
    others = [".notes.txt.12345678.tmp", "photographs/.y.jpg.12345678.tmp"]
    for name in others:
        local.write(name, b"somebody else's")
    assert go("ab") == DONE
    assert local.temporaries() == others


def test_a_worker_that_was_lost_and_started_again_leaves_no_temporary(go, local, monkeypatch):
    opened = FakeJob.open

    def lost_once(job, run):
        os.makedirs(local.path("captions"), exist_ok=True)
        with open(local.path("captions/.x.parquet.12345678.tmp"), "wb"):
            pass
        return opened(job, run)

    monkeypatch.setattr(FakeJob, "open", lost_once)
    assert go("ab") == DONE
    assert local.temporaries() == []
    assert verify(local) == (2, 0, 0, ())


def test_lost_bookkeeping_is_made_again(go, local, log, capsys):
    go("abcdefgh", failing="b")
    for entry in local.files(RECEIPTS):
        local.delete(entry.name)
    done_in(log)
    capsys.readouterr()
    assert go("abcdefgh") == DONE
    assert done_in(log) == []
    assert "8 in the corpus: 7 done, 1 failed, 0 to do" in last_line(capsys)
    assert verify(local) == (7, 1, 0, ())


def test_this_run_did_only_what_it_did(go, local, capsys):
    go("abcdefgh")
    for entry in local.files(RECEIPTS):
        local.delete(entry.name)
    capsys.readouterr()
    go("abcdefgh")
    assert "this run did 0 of 8" in capsys.readouterr().out


def test_a_deleted_file_is_done_again(go, local, log):
    go("abcdefgh", failing="b", shard_size=100)
    [entry] = local.files("captions")
    local.delete(entry.name)
    done_in(log)
    assert go("abcdefgh", failing="b", shard_size=100) == DONE
    assert done_in(log) == list("acdefgh")
    assert captions_of(local) == all_in("oil", "acdefgh")
    assert attempts_of(local) == [("b", 1)]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["captions", "failures"])
def test_a_damaged_file_is_refused_by_name_and_its_ids_are_done_again_without_it(go, local, log, folder):
    go("abcdefgh", failing="b", shard_size=100)
    [entry] = local.files(folder)
    local.write(entry.name, local.read(entry.name)[:-7])
    with pytest.raises(RefusedError, match=rf"{re.escape(entry.name)}.*delete that file"):
        go("abcdefgh", failing="b", shard_size=100)
    assert not local.exists(LEASE)
    local.delete(entry.name)
    assert go("abcdefgh", failing="b", shard_size=100) == DONE
    assert captions_of(local) == all_in("oil", "acdefgh")
    assert attempts_of(local) == [("b", 1)]


def test_a_failure_file_damaged_in_place_is_refused_by_name(go, local):
    go("ab", failing="b")
    [entry] = local.files("failures")
    local.write(entry.name, b"x" * entry.size)  # its receipt still fits it by size
    with pytest.raises(RefusedError, match=re.escape(entry.name)):
        go("ab", failing="b")


def test_an_id_committed_twice_by_a_zombie_is_swept(go, local):
    """A row beats a failure of its id, also one that a worker wrote after it was given up."""
    go("ab")
    run = run_of(local, OLD.digest)
    commit_shard(shard("zombie", "a"), FakeJob(frozenset("a")).open(run), run)
    assert go("ab") == DONE
    assert attempts_of(local) == []


def test_an_empty_corpus_is_done(go, local, log, capsys):
    assert go("") == DONE
    assert "0 in the corpus: 0 done, 0 failed, 0 to do" in last_line(capsys)
    assert noted(log) == []


def test_when_every_item_fails_a_check_says_no_and_the_reason(go, capsys):
    assert go("abc", failing="abc") == CHECK_FAILED
    assert "0 done, 3 failed, 0 to do" in last_line(capsys)
    # A run with nothing to do says so again; one row is enough for an output.
    assert go("abc", failing="abc") == CHECK_FAILED
    assert "every one failed, 3 with " in last_line(capsys)
    assert go("abcd", failing="abc") == DONE
    assert "every one failed" not in last_line(capsys)


def test_tells_repeats_and_files_that_are_no_images(go, capsys):
    go("ab", repeated=5, skipped=[Skipped("no image suffix", 7), Skipped("broken link")])
    out = capsys.readouterr().out
    assert "5  repeated references counted once" in out
    assert "7  skipped: no image suffix" in out
    assert "0 to do, 5 repeated, 8 skipped (1 broken link, 7 no image suffix) → " in out.splitlines()[-1]
    go("ab")
    assert "repeated" not in capsys.readouterr().out


def test_the_stored_corpus_is_the_latest(go, local):
    go("abc")
    go("bcd")
    assert [item.id for item in read_corpus(local)] == ["b", "c", "d"]


def test_is_resumed(go, local):
    assert not is_resumed(local, OLD)
    go("ab")
    assert is_resumed(local, OLD)
    assert not is_resumed(local, NEW)


def test_a_replacement_that_did_not_do_all_removes_nothing_old(go, local, monkeypatch):
    go("abcd")
    # A runner may end a cancelled job without raising: here nothing of it was done.
    monkeypatch.setattr(running, "build", lambda *args: None)
    assert go("abcd", fingerprint=NEW, on_change="replace") == STOPPED
    assert captions_of(local) == all_in("oil", "abcd")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "code"),
    [("0", CHECK_FAILED), ("1", CHECK_FAILED), ("2", DONE), ("24%", CHECK_FAILED), ("25%", DONE), ("100%", DONE)],
)
def test_more_failures_than_allowed_end_with_a_code_of_their_own(go, local, capsys, bound, code):
    assert go(failing="bc", max_failures=failure_bound(bound)) == code
    assert captions_of(local) == all_in("oil", "adefgh")
    told = capsys.readouterr()
    assert ("2 failures of 8, more than --max-failures" in told.err) == (code == CHECK_FAILED)
    assert "8 in the corpus: 6 done, 2 failed, 0 to do" in told.out
    # Nothing is left to do, and there are still too many.
    assert go(failing="bc", max_failures=failure_bound(bound)) == code


def test_failures_of_earlier_runs_count_unless_they_are_tried_again(go, capsys):
    assert go("abcd", failing="bc") == DONE
    assert go("abcdefgh", failing="h", max_failures=failure_bound("2")) == CHECK_FAILED
    assert go("abcdefgh", retry_failed=True, failing="h", max_failures=failure_bound("1")) == DONE


@pytest.mark.slow
def test_a_warning_is_told_and_ends_a_strict_job_with_a_code_of_its_own(go, capsys):
    assert go("ab", suspicious=("all the same",)) == DONE
    assert "beamscribe caption: warning: all the same" in capsys.readouterr().err
    assert go("abc", suspicious=("all the same",), strict=True) == CHECK_FAILED
    assert go("abcd", strict=True) == DONE


def test_a_shard_that_never_ended_is_suspected_by_the_next_run(go, local, log):
    run = run_of(local, OLD.digest)
    with pytest.raises(RuntimeError, match="crashed"):
        commit_watched(shard("00000-of-00001", "a", "b"), FakeJob(crash_after=0).open(run), run)
    assert [entry.name for entry in local.files(STARTED)] == [f"{STARTED}/00000-of-00001"]
    seen = []

    class Looking(FakeJob):
        def open(self, run):
            process = super().open(run)

            def look(shard):
                seen.append(shard.suspect)
                yield from process(shard)

            return look

    for _ in range(2):
        commit_watched(shard("00000-of-00001", "a", "b"), Looking().open(run), run)
    assert seen == [True, False]
    assert local.files(STARTED) == []


def test_the_command_to_continue_with_keeps_secrets(monkeypatch):
    secret = '{"key": "hunter2"}'
    for words in (["--storage-options", secret], [f"--storage-options={secret}"]):
        monkeypatch.setattr("sys.argv", ["x", "caption", "--images", "my photos", *words, "--limit", "3"])
        told = launch_module._command_line()
        assert "hunter2" not in told
        assert told.startswith("beamscribe caption --images 'my photos' ")
        assert told.endswith(" --limit 3")


THREAD_FLAGS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@pytest.mark.parametrize(
    ("argv", "threads"),
    [
        (["--direct_running_mode=multi_processing", "--direct_num_workers=2"], ["3", "2", "4"]),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=99"], ["3", "1", "1"]),
        (["--direct_running_mode=multi_processing"], ["3", "4", "8"]),
        ([], ["3", "4", None]),
    ],
)
def test_worker_processes_and_batches_share_the_cores_unless_the_user_says_how(monkeypatch, argv, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name in THREAD_FLAGS:
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    running.share_cores(parse(FlagParser(prog="beamscribe fake"), argv)[1])
    assert [os.environ.get(name) for name in THREAD_FLAGS] == threads
