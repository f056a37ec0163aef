"""The reference of the public names is made of their docstrings without a warning, and holds each of them."""

import os
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
    command = (
        recipe.group(1)
        .replace("$(BIN)/python", "PYTHON")
        .replace("docs/api", str(tmp_path))
        .split("PYTHON ")[1]
        .split()
    )
    ended = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PDOC_ALLOW_EXEC": "1"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Warn" not in ended.stderr
    for name, module in beamscribe.PUBLIC.items():
        page = (tmp_path / f"{module.replace('.', '/')}.html").read_text()
        assert f'id="{name}"' in page, name
