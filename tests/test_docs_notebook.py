"""docs/notebook.ipynb, executed as Jupyter would: cell after cell, in one namespace."""

import ast
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.documents import CHECKOUT

NOTEBOOK = json.loads((CHECKOUT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


class Audio:
    """Stands for the player of IPython, which a test does not need."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def execute(cell: str, names: dict[str, Any]) -> Any:
    """Runs a cell; what its last expression gives, which Jupyter would show."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def test_the_notebook_is_stored_without_what_it_printed() -> None:
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])


@pytest.mark.slow
@pytest.mark.nightly
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[explain]'")
    display = types.ModuleType("IPython.display")
    display.Audio = Audio  # type: ignore[attr-defined]
    # IPython itself is left alone: matplotlib asks it for its version where it is imported.
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.delenv("BEAMSCRIBE_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("demo").symlink_to(CHECKOUT / "docs" / "demo")
    names: dict[str, Any] = {}
    shown = [value for value in (execute(cell, names) for cell in CELLS) if value is not None]
    picture, audio, code = shown
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert [choice.word for choice in picture.choices] == picture.caption.split()
    assert all(len(choice.alternatives) == 3 for choice in picture.choices)
    assert audio.data[:4] == b"RIFF"
    assert code == 0
    told = capsys.readouterr().out
    assert "NotAnImage" in told
    assert told.count("instead: ") == len(picture.choices)
    assert told.splitlines()[-1].startswith("3 photographs of 3, ")
    # The job says of each photograph what the captioner says.
    assert {row["caption"] for row in names["rows"]} == {caption.text for caption in names["captions"].values()}
    assert Path("report.html").read_text(encoding="utf-8").count('<img src="data:image/jpeg;base64,') == 3
