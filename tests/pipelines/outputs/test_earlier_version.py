"""Outputs that version 0.1 wrote are read and continued."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import DONE
from tests.documents import CHECKOUT


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Captions of three photographs with a failure, and their speech."""
    shutil.copytree(CHECKOUT / "tests" / "data" / "version-0.1", tmp_path / "outputs")
    return tmp_path / "outputs"


def audio(outputs: Path) -> dict[str, tuple[bytes, int]]:
    files = (outputs / "speech" / "audio").rglob("*.mp3")
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_they_are_read(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("captions", "speech"):
        assert main(["verify", str(outputs / name)]) == DONE
    capsys.readouterr()
    assert main(["status", str(outputs / "captions"), "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["asked"], found["done"], found["failed"], found["todo"]) == (4, 3, 1, 0)
    table = tmp_path / "captions.jsonl"
    assert main(["export", str(outputs / "captions"), "--to", "jsonl", "--output", str(table)]) == DONE
    exported = [json.loads(line) for line in table.read_text().splitlines()]
    assert sorted(row["id"].rsplit("/", 1)[1] for row in exported) == ["blue.jpg", "green.jpg", "red.jpg"]


def test_they_are_continued(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = audio(outputs)
    # As a kill leaves it: rows without their receipt.
    shutil.rmtree(outputs / "speech" / "_beamscribe" / "shards")
    command = ["speak", "--captions", str(outputs / "captions"), "--output", str(outputs / "speech")]
    assert main(command) == DONE
    assert "3 done, 0 failed, 0 to do" in capsys.readouterr().out
    assert audio(outputs) == before
    (path,) = (outputs / "speech" / "index").glob("*.parquet")
    assert pq.read_table(path).num_rows == len(before) == 3
    assert main(["verify", str(outputs / "speech")]) == DONE
