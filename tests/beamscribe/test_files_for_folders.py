"""A file where an output of a job is expected: one line that says what is wrong, whichever command is given it."""

from pathlib import Path

import pytest

from beamscribe import main
from beamscribe.errors import REFUSED
from beamscribe.storage.storage import Storage

COMMANDS = {
    "status": ["status", "FILE"],
    "verify": ["verify", "FILE", "--repair"],
    "export": ["export", "FILE", "--to", "csv", "--output", "OUT"],
    "report": ["report", "FILE", "--output", "OUT"],
    "merge": ["merge", "FILE", "FILE", "--output", "OUT"],
    "retake": ["caption", "--retake", "FILE", "--below", "0.4", "--output", "OUT"],
    "features": ["caption", "--features", "FILE", "--output", "OUT"],
    "captions": ["featurize", "--captions", "FILE", "--output", "OUT"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_refused_and_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("no rows")
    names = {"FILE": str(file), "OUT": str(tmp_path / "out")}
    assert main([names.get(word, word) for word in COMMANDS[name]]) == REFUSED
    told = capsys.readouterr().err
    assert str(file) in told
    assert "is not an output of" in told or "holds no captions" in told
    assert "Errno" not in told
    assert not (tmp_path / "out").exists()


def test_nothing_is_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("no rows")
    storage = Storage(str(tmp_path / "rows.txt"))
    assert not storage.exists("captions/a.parquet")
    assert storage.files("captions") == []
    for read in (lambda: storage.read("a.json"), lambda: storage.read_range("a.json", 0, 4)):
        with pytest.raises(FileNotFoundError):
            read()
