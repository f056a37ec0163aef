import json
import re
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import DONE, REFUSED
from tests.documents import CHECKOUT


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The class in the documents, where it can be imported."""
    text = (CHECKOUT / "docs" / "captioners.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Brightness" in block]
    (tmp_path / "brightness.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "brightness", raising=False)
    return "brightness:Brightness"


def test_the_captioner_in_the_documents_captions(example: str, tmp_path: Path) -> None:
    photographs = tmp_path / "in"
    photographs.mkdir()
    for light in (0, 50, 200):
        Image.fromarray(np.full((40, 30, 3), light, np.uint8)).save(photographs / f"{light}.png")
    command = ["caption", "--images", str(photographs), "--output", str(tmp_path / "out"), "--captioner", example]
    assert main(command) == DONE
    rows = sorted(ds.dataset(tmp_path / "out" / "captions").to_table().to_pylist(), key=lambda row: row["caption"])
    assert [row["caption"] for row in rows] == ["A bright image of 200 in 255.", "A dark image of 50 in 255."]
    assert {(row["score"], row["model"], row["tokens_in"]) for row in rows} == {(None, None, None)}
    assert {(row["width"], row["height"]) for row in rows} == {(30, 40)}
    [failure] = ds.dataset(tmp_path / "out" / "failures").to_table().to_pylist()
    assert (failure["stage"], failure["error_type"]) == ("infer", "TooDark")
    assert main(["verify", str(tmp_path / "out")]) == DONE
    assert main(["export", str(tmp_path / "out"), "--output", str(tmp_path / "out.csv"), "--to", "csv"]) == DONE
    assert "A dark image of 50 in 255.," in (tmp_path / "out.csv").read_text()
    # Other settings of the captioner are another fingerprint.
    code = tmp_path / "brightness.py"
    code.write_text(code.read_text().replace('"version": "1"', '"version": "2"'))
    sys.modules.pop("brightness")
    assert main(command) == REFUSED


@pytest.mark.parametrize("name", ["brightness", "no.such.module:Class", "json:JSONDecoder", "json:nothing"])
def test_what_is_no_captioner_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["caption", "--images", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--captioner", name]
    assert main(command) == REFUSED
    assert "--captioner" in capsys.readouterr().err


@pytest.mark.slow
def test_a_compressed_tar_is_gone_through(example: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "photographs.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for light in (0, 50, 200):
            picture = tmp_path / f"{light}.png"
            Image.fromarray(np.full((40, 30, 3), light, np.uint8)).save(picture)
            tar.add(picture, picture.name)
    rows = {}
    for name, flags in (("passed", []), ("listed", ["--list-members"])):
        output = tmp_path / name
        command = ["caption", "--images", str(path), "--output", str(output), "--captioner", example, *flags]
        assert main(command) == DONE
        assert "3 in the corpus: 2 done, 1 failed, 0 to do" in capsys.readouterr().out
        table = ds.dataset(output / "captions").to_table(["id", "image_uri", "caption", "sha256"])
        rows[name] = sorted(table.to_pylist(), key=lambda row: row["id"])
        assert main(["verify", str(output)]) == DONE
        assert (output / "_beamscribe" / "slices").exists() == (name == "passed")
        capsys.readouterr()
        main(["status", str(output), "--json"])
        found = json.loads(capsys.readouterr().out)
        assert (found["done"], found["failed"], found["archives"]) == (2, 1, int(name == "passed"))
    assert rows["passed"] == rows["listed"]
    assert [row["id"] for row in rows["passed"]] == [f"file://{path}::200.png", f"file://{path}::50.png"]
