"""Data files are the truth: what a command tells of an output does not depend on whether receipts are there."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beamscribe.errors import CHECK_FAILED, DONE, RefusedError
from beamscribe.pipelines.outputs.captions import open_captions
from beamscribe.pipelines.outputs.export import run as export
from beamscribe.pipelines.outputs.job_status import status
from beamscribe.pipelines.outputs.merge import run as merge
from beamscribe.pipelines.outputs.report.gallery import Gallery
from beamscribe.pipelines.outputs.report.survey import survey
from beamscribe.pipelines.outputs.status import run as run_status
from beamscribe.pipelines.sources.captioned_rows import rows_of
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.schemas.rows import CAPTIONS, FAILURES
from beamscribe.storage.storage import Storage
from beamscribe.training.captions import read_captions
from tests.pipelines.fake_job import FakeJob, run_of, shard
from tests.pipelines.outputs.test_verify import go


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a to f, of which b and e failed, and of c and d also rows of earlier settings that do not count."""
    folder = tmp_path_factory.mktemp("receipts") / "whole"
    output = Storage(str(folder))
    assert go(output, "abcdef", failing="be") == DONE
    old = run_of(output, "0" * 16)
    outcomes = FakeJob(style="pencil").open(old)(shard("00000-of-00001", "c", "d"))
    output.write("captions/00000-of-00001-0123456789abcdef.parquet", CAPTIONS.encode(outcomes))
    return folder


def told(output: Storage, folder: Path) -> dict[str, Any]:
    """What every command that reads captions makes of an output."""
    assert export([output.root, "--to", "csv", "--output", str(folder / "captions.csv"), "--replace"]) == DONE
    assert merge([output.root, output.root, "--output", str(folder / "merged")]) == DONE
    merged = status(Storage(str(folder / "merged")))
    state = status(output)
    return {
        "export": sorted((folder / "captions.csv").read_text().splitlines()),
        "evaluate": sorted(read_captions(output.root, {}).rows),
        "status": (state.asked, state.done, sorted(row.id for row in state.failures), state.todo),
        "report": survey(open_captions(output.root, {}), Gallery(4)).captions,
        "caption --taught-by": sorted(row["caption"] for row in rows_of(output.root, "--x", {})),
        "merge": (merged.asked, merged.done, sorted(row.id for row in merged.failures), merged.todo),
    }


def no_receipt(output: Storage) -> None:
    for entry in output.files(RECEIPTS):
        output.delete(entry.name)


def one_receipt_less(output: Storage) -> None:
    output.delete(output.files(RECEIPTS)[0].name)


def damaged_receipts(output: Storage) -> None:
    for entry, data in zip(output.files(RECEIPTS), (b"", b"{", b"[]", b"\xff"), strict=False):
        output.write(entry.name, data)


def receipts_of_other_files(output: Storage) -> None:
    for entry in output.files(RECEIPTS):
        output.write(entry.name, output.read(entry.name).replace(b'"size": ', b'"size": 1'))


@pytest.mark.slow
@pytest.mark.parametrize("lose", [no_receipt, one_receipt_less, damaged_receipts, receipts_of_other_files])
def test_every_command_tells_the_same(whole: Path, tmp_path: Path, lose: Callable[[Storage], None]) -> None:
    output = Storage(str(shutil.copytree(whole, tmp_path / "output")))
    before = told(output, tmp_path)
    assert before["status"] == (6, 4, ["b", "e"], 0)
    assert before["merge"] == before["status"]
    assert Counter(caption.caption for caption in before["evaluate"]) == Counter(f"{id} in oil" for id in "acdf")
    lose(output)
    left = {entry.name: output.read(entry.name) for entry in output.files(RECEIPTS)}
    assert told(output, tmp_path) == before
    # Only a run that holds the lease writes receipts.
    assert {entry.name: output.read(entry.name) for entry in output.files(RECEIPTS)} == left
    assert go(output, "abcdef", failing="be") == DONE
    assert told(output, tmp_path) == before


def test_a_file_that_is_damaged_is_named_and_not_passed_over(whole: Path, tmp_path: Path) -> None:
    output = Storage(str(shutil.copytree(whole, tmp_path / "output")))
    name = next(entry.name for entry in output.files("captions") if "0123456789abcdef" not in entry.name)
    output.write(name, output.read(name)[:-9])
    for command in (
        lambda: run_status([output.root]),
        lambda: export([output.root, "--to", "csv", "--output", str(tmp_path / "x.csv")]),
        lambda: merge([output.root, output.root, "--output", str(tmp_path / "merged")]),
        lambda: read_captions(output.root, {}),
        lambda: list(rows_of(output.root, "--x", {})),
    ):
        with pytest.raises(RefusedError, match=name):
            command()


def test_failure_rows_alone_count_as_the_latest_runs(local: Storage) -> None:
    assert go(local, "ab", failing="ab") == CHECK_FAILED
    assert [entry.name for entry in local.files("captions")] == []
    assert local.files(FAILURES.folder)
    no_receipt(local)
    assert (len(status(local).failures), status(local).todo) == (2, 0)
