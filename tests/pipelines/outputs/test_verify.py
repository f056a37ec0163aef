import json
import os
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits import stored_corpus
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.lease import Lease
from beamscribe.pipelines.commits.stored_corpus import write_corpus
from beamscribe.pipelines.outputs.status import run as run_status
from beamscribe.pipelines.outputs.verify import inspect, run, verify
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.schemas.corpus_item import FOLDER as CORPUS
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.storage.output_reader import MANIFEST
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS as CAPTIONS
from tests.pipelines.fake_job import FakeJob, caption, reference, references, run_of, shard

FINGERPRINT = Fingerprint({"style": "oil"})


def go(output, ids, failing="", on_change="refuse", fingerprint=FINGERPRINT, skipped=()):
    return launch(
        Request(
            job=FakeJob(frozenset(failing), fingerprint.fields["style"]),
            corpus=distinct([*references(*ids), *skipped]),
            output=output,
            fingerprint=fingerprint,
            details={},
            flags=JobFlags(2, None, False, on_change, {}),
            options=parse(FlagParser(prog="beamscribe fake"), [])[1],
        )
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An output of the fake job: a to f, of which b and e failed, in four shards."""
    folder = tmp_path_factory.mktemp("verify") / "whole"
    assert go(Storage(str(folder)), "abcdef", failing="be") == DONE
    return folder


@pytest.fixture
def output(whole, tmp_path):
    """A copy to be damaged."""
    return Storage(str(shutil.copytree(whole, tmp_path / "output")))


def first(output, folder):
    return output.files(folder)[0].name


def ids_in(output, name):
    return pq.read_table(output.path(name))["id"].to_pylist()


def found(output):
    return verify(output).findings


def put(output, name, data):
    """Writes without any of the storage's care."""
    with open(output.path(name), "wb") as file:
        file.write(data)


def flip(output, name, where=None):
    """Flips one bit; by default in the file's footer where it says who wrote it, so that it stays readable."""
    data = bytearray(output.read(name))
    place = bytes(data).rindex(b"parquet-cpp") if where is None else where
    data[place] ^= 1
    put(output, name, bytes(data))


def test_a_whole_output(output, capsys):
    assert verify(output) == (4, 2, 0, ())
    assert run([output.root]) == DONE
    assert capsys.readouterr().out == f"beamscribe verify: {output.root} is whole: 4 rows, 2 failures, 0 to do\n"


def test_an_output_elsewhere(memory):
    go(memory, "abc", "b")
    assert verify(memory) == (2, 1, 0, ())
    assert run([memory.root, "--storage-options={}"]) == DONE


def test_verifying_changes_nothing(output):
    def state():
        return {entry.name: output.read(entry.name) for entry in output.walk("_beamscribe") + output.walk("captions")}

    output.delete(first(output, RECEIPTS))
    before = state()
    verify(output)
    assert state() == before


def test_work_that_is_left_is_no_finding(output, capsys):
    write_corpus(output, references(*"abcdefxyz"))
    fields = {**json.loads(output.read(MANIFEST)), "references": 9, "listed": 9}
    output.write(MANIFEST, json.dumps(fields).encode())
    assert verify(output) == (4, 2, 3, ())
    assert run([output.root]) == STOPPED
    assert "is incomplete, run its job again: 4 rows, 2 failures, 3 to do" in capsys.readouterr().out


def test_rows_of_ids_that_left_the_corpus_are_no_finding(output):
    go(output, "ab", "b")
    assert verify(output) == (4, 2, 0, ())


def test_a_deleted_data_file_is_work_to_do(output):
    name = first(output, "captions")
    lost = ids_in(output, name)
    output.delete(name)
    verdict = verify(output)
    assert (verdict.rows, verdict.failures, verdict.todo) == (4 - len(lost), 2, len(lost))
    assert run([output.root]) in (STOPPED, CHECK_FAILED)
    go(output, "abcdef", "be")
    assert verify(output) == (4, 2, 0, ())


def test_a_deleted_failure_file_is_work_to_do(output):
    name = first(output, "failures")
    lost = ids_in(output, name)
    output.delete(name)
    verdict = verify(output)
    assert (verdict.rows, verdict.failures, verdict.todo) == (4, 2 - len(lost), len(lost))


@pytest.mark.parametrize("folder", ["captions", "failures"])
def test_a_flipped_bit_in_a_file_that_can_still_be_read(output, folder, capsys):
    name = first(output, folder)
    flip(output, name)
    assert found(output) == (f"{name} is not as it was written: its checksum differs",)
    assert run([output.root]) == CHECK_FAILED
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"beamscribe verify: {name} is not as it was written: its checksum differs"
    assert out[-1] == f"beamscribe verify: {output.root} is wrong: 4 rows, 2 failures, 0 to do"


def test_no_flipped_bit_goes_unseen(output):
    name = first(output, "captions")
    good = output.read(name)
    for place in range(0, len(good), 97):
        flip(output, name, place)
        assert found(output)[0].startswith(name)
        put(output, name, good)
    assert found(output) == ()


@pytest.mark.parametrize("folder", ["captions", "failures"])
@pytest.mark.parametrize("size", [0, 3, -1, -30])
def test_a_truncated_file(output, folder, size):
    name = first(output, folder)
    lost = ids_in(output, name)
    put(output, name, output.read(name)[:size])
    verdict = verify(output)
    assert verdict.findings[0].startswith(f"{name} cannot be read")
    assert verdict.todo == len(lost)
    assert run([output.root]) == CHECK_FAILED


@pytest.mark.parametrize("name", ["captions/notes.txt", "captions/part.parquet.bak"])
def test_a_foreign_file(output, name):
    output.write(name, b"x")
    assert found(output) == (f"{name} is no data file of Beamscribe: delete it, or move it elsewhere",)


def test_what_other_programs_leave_is_no_finding(output):
    for name in ("_SUCCESS", "desktop.ini", "Thumbs.db", ".DS_Store", ".x.parquet.crc", "x.parquet.crc"):
        output.write(f"captions/{name}", b"x")
        output.write(f"failures/{name}", b"x")
    assert verify(output) == (4, 2, 0, ())


THEIRS = (
    "captions/theirs.parquet",
    "captions/train-00000-of-00001-0123456789abcdef.parquet",
    "failures/00000-of-00001.parquet",
)


def test_a_repair_leaves_files_of_others_and_says_what_to_do(output, capsys):
    output.write("_beamscribe/shards/theirs.json", b"{}")
    assert mend(output, capsys) == (DONE, [])
    for name in THEIRS:
        pq.write_table(pa.table({"id": ["z"], "fingerprint": ["f"]}), output.path(name))
    before = {name: output.read(name) for name in THEIRS}
    assert mend(output, capsys) == (CHECK_FAILED, [])
    assert {name: output.read(name) for name in THEIRS} == before
    assert output.read("_beamscribe/shards/theirs.json") == b"{}"
    told = found(output)
    for name in THEIRS:
        assert f"{name} has no name that Beamscribe gives: delete it, or move it elsewhere" in told
        assert any(f"{name} cannot be read" in line and "Beamscribe did not write it" in line for line in told)
        output.delete(name)
    assert mend(output, capsys) == (DONE, [])


@pytest.mark.parametrize("linked", ["captions", "captions/00000-of-00001-0123456789abcdef.parquet"])
def test_a_repair_follows_no_link(output, tmp_path, capsys, linked):
    name = "captions/00000-of-00001-0123456789abcdef.parquet"
    if linked == "captions":
        os.rename(output.path("captions"), tmp_path / "theirs")
        os.symlink(tmp_path / "theirs", output.path("captions"))
        put(output, name, b"theirs")
    else:
        (tmp_path / "theirs").write_bytes(b"theirs")
        os.symlink(tmp_path / "theirs", output.path(name))
    capsys.readouterr()
    assert run([output.root, "--repair"]) == CHECK_FAILED
    assert f"leaves {name}, to which a link leads: delete the file or the link" in capsys.readouterr().out
    assert output.read(name) == b"theirs"


def test_a_file_with_a_column_twice(output):
    name = first(output, "captions")
    table = pq.read_table(output.path(name))
    pq.write_table(table.append_column("id", table["id"]), output.path(name))
    assert f"{name} cannot be read: {name} has more than one column id" in found(output)[0]
    assert inspect(output).remove == {name}


@pytest.mark.parametrize("changes", [{"listed": 9}, {"repeated": 1}, {"skipped": {"broken link": 2}}])
def test_what_the_sources_name_is_accounted_for(output, changes):
    output.write(MANIFEST, json.dumps({**json.loads(output.read(MANIFEST)), **changes}).encode())
    [finding] = found(output)
    assert finding.startswith("the sources of the latest run name ")
    assert run([output.root]) == CHECK_FAILED


def test_the_output_of_an_unknown_job_is_refused(output):
    output.write(MANIFEST, json.dumps({**json.loads(output.read(MANIFEST)), "job": "dance"}).encode())
    for command in (run, run_status):
        with pytest.raises(RefusedError, match="a job called dance"):
            command([output.root])


def test_one_damaged_part_of_the_corpus_hides_no_other(output, monkeypatch):
    monkeypatch.setattr(stored_corpus, "PART_SIZE", 2)
    write_corpus(output, references(*"abcdef"))
    output.write(f"{CORPUS}/00001.parquet", b"damaged")
    told = found(output)
    assert len([finding for finding in told if "not readable Parquet" in finding]) == 1
    assert any("4 ids" in finding for finding in told), told


def test_deep_json_is_damage_and_no_traceback(output):
    deep = b"[" * 200_000
    for name in (first(output, RECEIPTS), first(output, CORPUS)):
        output.write(name, deep)
    assert any("not readable Parquet" in finding for finding in found(output))
    with pytest.raises(RefusedError, match=r"is damaged|not readable Parquet"):
        run_status([output.root])
    assert go(output, "abcdef", failing="be") == DONE
    assert verify(output) == (4, 2, 0, ())
    output.write(MANIFEST, deep)
    with pytest.raises(RefusedError, match="put that file back"):
        run([output.root])


def test_a_parquet_file_of_another_schema_of_ours(output):
    output.write("captions/failures.parquet", output.read(first(output, "failures")))
    assert all(finding.startswith("captions/failures.parquet ") for finding in found(output))
    assert inspect(output).remove == frozenset()


def test_a_newer_schema(output):
    name = first(output, "captions")
    table = pq.read_table(output.path(name))
    newer = table.replace_schema_metadata({**table.schema.metadata, b"beamscribe.schema_version": b"9"})
    pq.write_table(newer, output.path(name), compression="zstd")
    [finding] = found(output)
    assert finding.startswith(f"{name} has schema version 9")
    # Not this Beamscribe's to judge, so not its to repair.
    assert inspect(output).remove == frozenset()
    assert "upgrade Beamscribe" in finding


def commit_by_hand(output, ids, failing="", name="90000-of-99999", fingerprint=FINGERPRINT):
    run_by_hand = run_of(output, fingerprint.digest)
    return commit_shard(shard(name, *ids), FakeJob(frozenset(failing)).open(run_by_hand), run_by_hand)


def test_an_id_in_two_files(output):
    commit_by_hand(output, "ac")
    verdict = verify(output)
    assert verdict == (4, 2, 0, ("2 ids with more than one row: a, c",))


def test_an_id_twice_in_one_file(output):
    rows = [caption(reference(id), "oil", run_of(output, FINGERPRINT.digest)) for id in "zz"]
    output.write("captions/twice.parquet", CAPTIONS.encode(rows))
    assert "1 ids with more than one row: z" in found(output)


def test_an_id_with_two_failures(output):
    commit_by_hand(output, "b", "b")
    assert found(output) == ("1 ids with more than one failure row: b",)


def test_an_id_with_a_row_and_a_failure(output):
    commit_by_hand(output, "ab", "a")
    verdict = verify(output)
    assert verdict.findings == ("2 ids with both a row and a failure row: a, b",)
    assert (verdict.rows, verdict.failures, verdict.todo) == (5, 1, 0)


def test_many_ids_are_counted_and_few_of_them_named(output):
    commit_by_hand(output, "uvwxyz")
    commit_by_hand(output, "uvwxyz", name="90001-of-99999")
    assert found(output) == ("6 ids with more than one row: u, v, w, x, y, and 1 more",)


def test_an_orphan_temporary(output):
    put(output, "captions/.x.parquet.12345678.tmp", b"half")
    [finding] = found(output)
    assert finding.startswith("1 temporaries that a killed run left")
    assert finding.endswith(": captions/.x.parquet.12345678.tmp")
    assert run([output.root]) == CHECK_FAILED


def test_a_lost_receipt(output):
    lost = first(output, RECEIPTS)
    files = [name for name in (entry.name for folder in ("captions", "failures") for entry in output.files(folder))
             if lost.split("/")[-1].removesuffix(".json") in name]  # fmt: skip
    output.delete(lost)
    assert sorted(found(output)) == sorted(
        f"{name} has no receipt that fits it (the next run makes one)" for name in files
    )
    go(output, "abcdef", "be")
    assert found(output) == ()


def test_rows_of_other_settings(output):
    commit_by_hand(output, "a", fingerprint=Fingerprint({"style": "ink"}))
    [finding] = found(output)
    assert finding.startswith("1 rows that newer ones replace")
    assert finding.endswith(": a")


def test_rows_that_are_kept_are_no_finding(output):
    go(output, "abcdefg", "be", on_change="keep", fingerprint=Fingerprint({"style": "ink"}))
    assert verify(output) == (5, 2, 0, ())


def test_rows_of_a_replacement_that_did_not_end_are_to_do(output):
    fields = json.loads(output.read(MANIFEST))
    fields["kept_fingerprints"] = [Fingerprint({"style": "ink"}).digest]
    output.write(MANIFEST, json.dumps(fields).encode())
    verdict = verify(output)
    assert verdict.rows == 0
    assert verdict.todo >= 4


def test_failures_of_a_replacement_that_did_not_end_are_to_do(output):
    fields = json.loads(output.read(MANIFEST))
    fields["kept_fingerprints"] = [Fingerprint({"style": "ink"}).digest]
    output.write(MANIFEST, json.dumps(fields).encode())
    verdict = verify(output)
    assert (verdict.rows, verdict.failures, verdict.todo) == (0, 0, 6)


def test_a_lost_part_of_the_corpus(output):
    output.delete(first(output, CORPUS))
    assert found(output) == ("the stored corpus has 0 ids, the manifest says 6 (the next run stores it)",)


@pytest.mark.parametrize("data", [b"", b"[[", b"\xff", b"7", b'[["a"]]', b'[["a", "u", "", 7]]'])
def test_a_damaged_part_of_the_corpus(output, data):
    name = first(output, CORPUS)
    output.write(name, data)
    assert any(name in finding for finding in found(output))


def test_a_folder_that_is_no_output(tmp_path):
    with pytest.raises(RefusedError, match="is not an output of Beamscribe"):
        run([str(tmp_path)])
    with pytest.raises(RefusedError, match="is not an output of Beamscribe"):
        run([str(tmp_path / "missing")])
    with pytest.raises(RefusedError, match="nosuch"):
        run(["nosuch://bucket/output"])


@pytest.mark.parametrize("argv", [[], ["a", "b"], ["a", "--runner=FnApiRunner"], ["a", "--storage_options={}"]])
def test_wrong_flags_are_refused(argv):
    with pytest.raises(RefusedError):
        run(argv)


def test_a_damaged_manifest_is_refused(output):
    output.write(MANIFEST, b"{")
    with pytest.raises(RefusedError, match=MANIFEST):
        run([output.root])


def mend(output, capsys):
    """Repairs; gives the exit code and what was removed."""
    capsys.readouterr()
    code = run([output.root, "--repair"])
    told = capsys.readouterr().out
    return code, re.findall(r"^beamscribe verify: removes (\S+)$", told, re.MULTILINE)


def test_nothing_to_repair(output, capsys):
    before = {entry.name: output.read(entry.name) for entry in output.walk("")}
    assert mend(output, capsys) == (DONE, [])
    assert {entry.name: output.read(entry.name) for entry in output.walk("")} == before


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["captions", "failures"])
@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_file_goes_and_its_images_are_done_again(output, capsys, folder, damage):
    name = first(output, folder)
    ids = ids_in(output, name)
    put(output, name, output.read(name)[:-9]) if damage == "cut" else flip(output, name)
    assert mend(output, capsys) == (STOPPED, [name])
    assert verify(output).todo == len(ids)
    assert go(output, "abcdef", failing="be") == DONE
    assert verify(output) == (4, 2, 0, ())


def test_repeated_rows_and_superseded_failures_go(output, capsys):
    commit_by_hand(output, "ac")
    commit_by_hand(output, "b", "b", name="90001-of-99999")
    code, removed = mend(output, capsys)
    assert removed
    assert all(name.startswith("captions/") for name in removed)
    assert found(output) == ()
    assert code in (DONE, STOPPED)
    assert go(output, "abcdef", failing="be") == DONE
    assert verify(output) == (4, 2, 0, ())


def test_lost_receipts_and_temporaries_are_set_right_at_once(output, capsys):
    for entry in output.files(RECEIPTS):
        output.delete(entry.name)
    put(output, "captions/.x.parquet.12345678.tmp", b"half")
    assert mend(output, capsys) == (DONE, ["captions/.x.parquet.12345678.tmp"])


def test_what_beamscribe_did_not_write_is_told_and_left(output, capsys):
    output.write("captions/notes.txt", b"mine")
    assert mend(output, capsys) == (CHECK_FAILED, [])
    assert output.read("captions/notes.txt") == b"mine"


def test_a_repair_needs_the_lease(output):
    flip(output, first(output, "captions"))
    with Lease(output), pytest.raises(RefusedError, match="is being written"):
        run([output.root, "--repair"])
