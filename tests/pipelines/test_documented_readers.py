"""The code blocks of docs/formats.md that read speech, run as they stand on an output of each layout."""

import re
from pathlib import Path

import pytest

from beamscribe.errors import DONE
from beamscribe.pipelines.speak import run
from tests.pipelines.test_speak import TEXTS, write_captions

DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
SECTION = DOCS.read_text(encoding="utf-8").split("\n## audio/\n")[1].split("\n## ")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "block", "lines"), [("files", 0, 4), ("tar", 1, 3), ("tar", 2, 6), ("parquet", 3, 3)]
)
def test_documented_readers_work(tmp_path, capsys, layout, block, lines):
    output = tmp_path / "output"
    captions = write_captions(tmp_path / "captions", TEXTS)
    assert run(["--captions", captions, "--output", str(output), f"--layout={layout}", "--shard-size=1"]) == DONE
    code = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)[block].replace("OUTPUT", str(output))
    capsys.readouterr()
    exec(compile(code, f"{DOCS}:{block}", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    if block != 2:
        assert {text for text in TEXTS.values() if any(text in line for line in printed)} == set(TEXTS.values())


def test_no_reader_is_left_out():
    assert SECTION.count("```python") == 4
