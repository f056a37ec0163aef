"""Every command of docs/running.md is run here, or stands below what it needs that no test has."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import DONE
from tests.engines.servers import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "running.md"
NEEDS = re.compile(r"<!-- needs: (.+) -->")
SETTING = re.compile(r"[\w.-]+: \S+")


class Typed(NamedTuple):
    """A line to type, and what it needs that a test does not have."""

    line: str
    needs: str


def typed() -> list[Typed]:
    """The indented lines of the document, but for settings (`name: value`)."""
    found, needs = [], ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if marked := NEEDS.fullmatch(line):
            needs = marked[1]
        elif line.startswith("    "):
            if not SETTING.fullmatch(line.strip()):
                found.append(Typed(line.strip(), needs))
        elif line:
            needs = ""
    return found


def test_what_is_not_run_says_what_it_needs() -> None:
    lines = typed()
    assert len(lines) > 15
    free = [one.line for one in lines if not one.needs]
    assert all(line.startswith("beamscribe ") for line in free), free
    # What needs nothing but this machine is not excused.
    local = [one for one in lines if one.line.startswith("beamscribe ") and "://" not in one.line]
    assert [one for one in local if one.needs] == []
    for one in lines:
        for path in re.findall(r"(?<![\w/:.])deploy/[\w./-]+", one.line):
            assert (CHECKOUT / path).exists() or "/jars" in path, one.line
        if one.line.startswith("make "):
            target = one.line.split()[1]
            assert re.search(rf"^([\w-]+ )*{target}( [\w-]+)*:", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.nightly
@pytest.mark.slow
def test_commands_that_need_nothing_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEAMSCRIBE_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("photographs").mkdir()
    for number in range(2):
        Image.new("RGB", (320, 240), (90 * number, 120, 60)).save(f"photographs/{number}.jpg")
    for one in typed():
        if not one.needs:
            assert main(one.line.split()[1:]) == DONE, one.line
