"""The reference of the public names is made of their docstrings without a warning, and holds each of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import beamscribe
from tests.documents import CHECKOUT


@pytest.mark.slow
def test_the_reference_holds_every_public_name(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    recipe = re.search(r"^api:.*\n\t(.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    command = recipe.group(1).replace("$(BIN)/python", "PYTHON").replace("docs/api", str(tmp_path)).split()
    ended = subprocess.run([sys.executable, *command[1:]], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Warn" not in ended.stderr
    page = (tmp_path / "beamscribe.html").read_text()
    for name in beamscribe.PUBLIC:
        assert f'id="{name}"' in page, name
