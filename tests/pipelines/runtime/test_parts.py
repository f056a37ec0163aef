"""A corpus in parts: every part is an output, and all of them hold what one output of everything would."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, REFUSED, STOPPED, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.outputs.job_status import status
from beamscribe.pipelines.outputs.verify import run as run_verify
from beamscribe.pipelines.runtime.flags.jobs import FailureBound, JobFlags
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.parts import PartedJob
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources import manifest_parts
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.manifest_parts import divided
from beamscribe.pipelines.sources.manifests import manifest_files, read_pieces
from beamscribe.pipelines.work.work_item import UNREADABLE
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.output_parts import OutputPart
from beamscribe.storage.output_reader import read_parts
from beamscribe.storage.storage import Storage
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import FakeJob, captions_of, failures_of, noted
from tests.pipelines.sources.test_manifest_parts import manifest

pytestmark = pytest.mark.slow

SMALL = {"MOST_LISTED": 15, "PART_ROWS": 10, "LEAST_BYTES": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifests of more than 15 rows are too large."""
    for name, size in SMALL.items():
        monkeypatch.setattr(manifest_parts, name, size)


def job(output: Storage, manifests: Sequence[str], plan: bool = False, **how: Any) -> PartedJob:
    """A fake job on manifests, of which a part has ten rows at most."""
    style = how.pop("style", "oil")
    fake = FakeJob(style=style, failing=frozenset(how.pop("failing", ())), log=how.pop("log", "/dev/null"))
    shared = {"shard_size": 4, "limit": None, "retry_failed": False, "on_change": "refuse", "plan": plan, **how}
    flags = JobFlags(storage_options={}, **shared)

    def request(part: OutputPart, most: int | None) -> Request:
        return Request(
            job=fake,
            corpus=read_pieces(part.wanted, Columns(), {}, most=most),
            output=output.below(part.name),
            fingerprint=Fingerprint({"style": style}),
            details={},
            flags=flags,
            options=parse(FlagParser(prog="beamscribe fake"), [])[1],
        )

    earlier, found = read_parts(output), manifest_files(manifests, {})
    parts = divided(found.files, {}, earlier)
    return PartedJob("caption", output, parts, earlier, fake.format, {"style": style}, request, flags, found.skipped)


def all_captions(output: Storage) -> list[tuple[str, str]]:
    return sorted(pair for part in read_parts(output) for pair in captions_of(output.below(part.name)))


def expected(*rows: int, style: str = "oil") -> list[tuple[str, str]]:
    return sorted((f"file:///photos/{row}.jpg", f"file:///photos/{row}.jpg in {style}") for row in rows)


@pytest.fixture
def output(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "out"))


@pytest.fixture
def many(tmp_path: Path) -> str:
    return manifest(tmp_path / "many.parquet", range(18), 9)


def test_parts_hold_every_row_and_are_done_once(
    output: Storage, many: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    log = str(tmp_path / "log")
    assert job(output, [many], log=log).launch() == DONE
    assert all_captions(output) == expected(*range(18))
    assert "18 in the corpus of 2 parts: 18 done, 0 failed, 0 to do" in capsys.readouterr().out
    monkeypatch.setattr(Storage, "write", None)
    (tmp_path / "log").unlink()
    again = job(output, [many], log=log)
    assert all(again.record_of(part) for part in again.parts)
    monkeypatch.undo()
    for name, size in SMALL.items():
        monkeypatch.setattr(manifest_parts, name, size)
    monkeypatch.setattr("tests.pipelines.runtime.test_parts.read_pieces", None)
    assert job(output, [many], log=log).launch() == DONE
    assert noted(log) == []
    assert run_verify([output.root]) == DONE
    assert "is whole: 18 rows, 0 failures, 0 to do in 2 parts" in capsys.readouterr().out


@pytest.mark.parametrize("operations", [15, 38])
def test_a_kill_loses_and_doubles_nothing(many: str, operations: int, memory: Storage) -> None:
    dying = DyingStorage(memory.root, left=[])
    dying.live(operations)
    try:
        ended = job(dying, [many], failing=["file:///photos/13.jpg"]).launch()
    except Killed:
        ended = None
    dying.live(None)
    if ended != DONE:
        # Leases of a process that is dead.
        for place in (memory, *(memory.below(part.name) for part in read_parts(memory))):
            place.delete(LEASE)
        assert job(memory, [many], failing=["file:///photos/13.jpg"]).launch() == DONE
    assert all_captions(memory) == expected(*(row for row in range(18) if row != 13))
    found = status(memory)
    assert (found.asked, found.done, len(found.failures), found.todo) == (18, 17, 1, 0)
    assert run_verify([memory.root]) == DONE


def test_what_is_lost_of_a_part_that_was_done_is_done_again(output: Storage, many: str, capsys: Any) -> None:
    assert job(output, [many]).launch() == DONE
    below = output.below("parts/00001")
    below.delete(below.files("captions")[0].name)
    assert status(output).todo > 0
    assert run_verify([output.root]) == STOPPED
    assert job(output, [many]).launch() == DONE
    assert all_captions(output) == expected(*range(18))


def test_failures_are_told_and_tried_again(output: Storage, many: str, capsys: Any) -> None:
    failing = ["file:///photos/3.jpg", "file:///photos/17.jpg"]
    assert job(output, [many], failing=failing).launch() == DONE
    assert "16 done, 2 failed, 0 to do" in capsys.readouterr().out
    found = status(output)
    assert (found.asked, found.done, len(found.failures), found.todo) == (18, 16, 2, 0)
    for bound, code in ((FailureBound(2, False), DONE), (FailureBound(1, False), CHECK_FAILED)):
        assert job(output, [many], failing=failing, max_failures=bound).launch() == code
    assert job(output, [many], failing=failing[:1], retry_failed=True).launch() == DONE
    assert all_captions(output) == expected(*range(3), *range(4, 18))
    assert [row.attempts for row in failures_of(output.below("parts/00000"))] == [2]


def test_settings_that_change_are_told_and_rows_replaced(output: Storage, many: str, tmp_path: Path) -> None:
    assert job(output, [many]).launch() == DONE
    more = manifest(tmp_path / "more.parquet", range(30, 33))
    before = {entry.name: output.read(entry.name) for entry in output.files("_beamscribe")}
    for manifests in ([many], [many, more], [more]):
        with pytest.raises(RefusedError, match="style: oil → ink"):
            job(output, manifests, style="ink").launch()
    assert {entry.name: output.read(entry.name) for entry in output.files("_beamscribe")} == before
    how: dict[str, Any] = {"style": "ink", "on_change": "replace"}
    failing, none = ["file:///photos/1.jpg", "file:///photos/11.jpg"], FailureBound(0, False)
    assert job(output, [many], failing=failing, max_failures=none, **how).launch() == CHECK_FAILED
    assert job(output, [many], failing=failing, **how).launch() == DONE
    assert all_captions(output) == expected(*(row for row in range(18) if row not in (1, 11)), style="ink")
    assert run_verify([output.root]) == DONE
    assert job(output, [many], retry_failed=True, **how).launch() == DONE
    assert all_captions(output) == expected(*range(18), style="ink")


def test_more_manifests_make_more_parts_and_fewer_ask_for_less(output: Storage, many: str, tmp_path: Path) -> None:
    assert job(output, [many]).launch() == DONE
    first = manifest(tmp_path / "earlier.parquet", range(20, 30), 10)
    assert job(output, [first, many]).launch() == DONE
    parts = read_parts(output)
    assert [part.rows for part in parts] == [9, 9, 10]
    assert len(all_captions(output)) == 28
    assert job(output, [first]).launch() == DONE
    found = status(output)
    assert (found.asked, found.done, found.todo) == (10, 10, 0)


def test_rows_that_are_not_listed_yet_are_to_do(output: Storage, many: str, tmp_path: Path) -> None:
    assert job(output, [many]).launch() == DONE
    manifest(tmp_path / "many.parquet", range(24), 12)
    stopping = job(output, [many])
    made = stopping.request

    def request(part: OutputPart, most: int | None) -> Request:
        if part.number == 1:
            raise KeyboardInterrupt
        return made(part, most)

    assert dataclasses.replace(stopping, request=request).launch() == INTERRUPTED
    found = status(output)
    assert (found.asked, found.done, found.todo) == (24, 21, 3)
    assert run_verify([output.root]) == STOPPED
    assert job(output, [many]).launch() == DONE
    assert {id for id, _ in all_captions(output)} == {id for id, _ in expected(*range(24))}


def test_a_row_group_that_cannot_be_read_costs_its_rows(output: Storage, many: str) -> None:
    group = pq.ParquetFile(many).metadata.row_group(1).column(0)
    data = bytearray(Path(many).read_bytes())
    begins = group.dictionary_page_offset
    data[begins : begins + group.total_compressed_size] = b"\xff" * group.total_compressed_size
    Path(many).write_bytes(data)
    damaged = job(output, [many])
    rows = [damaged.request(part, None).corpus.references for part in damaged.parts]
    assert [[bool(one.member and one.member.kind == UNREADABLE) for one in part] for part in rows] == [
        [False] * 9,
        [True] * 9,
    ]
    assert damaged.launch() == DONE
    assert len(all_captions(output)) == 18


def test_parts_that_another_command_has_changed_are_made_again(output: Storage, many: str, tmp_path: Path) -> None:
    late = job(output, [manifest(tmp_path / "other.parquet", range(30, 46), 8)])
    assert job(output, [many]).launch() == DONE
    with pytest.raises(RefusedError, match="another command has changed its parts: run this again"):
        late.launch()
    assert all_captions(output) == expected(*range(18))


def test_one_id_in_two_parts_is_told(output: Storage, many: str, tmp_path: Path, capsys: Any) -> None:
    assert job(output, [many, manifest(tmp_path / "other.parquet", range(13, 23), 10)]).launch() == DONE
    capsys.readouterr()
    assert run_verify([output.root]) == DONE
    assert "5 rows have an id that a row of another part has too" in capsys.readouterr().out


def test_a_crash_stops_and_says_how_to_go_on(output: Storage, many: str, capsys: Any) -> None:
    crashing = job(output, [many])

    def request(part: OutputPart, most: int | None) -> Request:
        fake = FakeJob(crash_after=1 if part.number else None)
        return dataclasses.replace(crashing.request(part, most), job=fake)

    assert dataclasses.replace(crashing, request=request).launch() == STOPPED
    found = status(output)
    assert 9 < found.done < 18
    assert (found.asked, found.todo) == (18, 18 - found.done)
    assert run_verify([output.root]) == STOPPED
    assert job(output, [many]).launch() == DONE
    assert all_captions(output) == expected(*range(18))


def test_a_plan_writes_nothing_and_counts_what_is_done(output: Storage, many: str, capsys: Any) -> None:
    assert job(output, [many], plan=True).plan() == DONE
    told = capsys.readouterr().out
    assert "about 18 of 18 to do" in told
    assert not list(output.walk(""))
    assert job(output, [many]).launch() == DONE
    below = output.below("parts/00001")
    below.delete(below.files("captions")[0].name)
    capsys.readouterr()
    assert job(output, [many], plan=True).plan() == DONE
    told = capsys.readouterr().out
    left = status(output).todo
    assert f"{left} of 18 to do" in told
    assert job(output, [many], plan=True, style="ink", on_change="replace").plan() == DONE
    assert "18 of 18 to do" in capsys.readouterr().out


def test_other_commands_name_a_part(output: Storage, many: str, tmp_path: Path, capsys: Any) -> None:
    assert job(output, [many]).launch() == DONE
    commands = [
        ["export", output.root, "--to", "csv", "--output", str(tmp_path / "x.csv")],
        ["report", output.root, "--output", str(tmp_path / "page.html")],
        ["speak", "--captions", output.root, "--output", str(tmp_path / "speech")],
    ]
    commands += [
        ["caption", "--images", str(tmp_path / "photos"), "--output", output.root],
        ["caption", "--manifest", many, "--limit", "3", "--output", output.root],
    ]
    advice = [*["name one of them, such as"] * 3, *["leave the flag out, or choose another --output"] * 2]
    for command, remedy in zip(commands, advice, strict=True):
        capsys.readouterr()
        assert main(command) == REFUSED, command
        told = capsys.readouterr().err
        assert "is in 2 parts" in told
        assert remedy in told
    assert main(["export", f"{output.root}/parts/00001", "--to", "csv", "--output", str(tmp_path / "x.csv")]) == DONE


def test_an_output_that_was_begun_as_a_whole_stays_one(output: Storage, many: str, capsys: Any) -> None:
    assert job(output, [many]).launch() == DONE
    whole = output.below("parts/00000").root
    capsys.readouterr()
    assert main(["caption", "--manifest", many, "--model", "/no/bundle", "--output", whole]) == REFUSED
    told, refused = capsys.readouterr().err.splitlines()
    assert "was begun as a whole, so all 18 rows are listed at once" in told
    assert "/no/bundle" in refused
