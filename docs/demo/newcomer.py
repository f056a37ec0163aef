"""Runs `make demo` and writes what it prints into docs/newcomer.md, so that the page is never stale.

    python docs/demo/newcomer.py

tests/test_newcomer.py runs it too and compares; what differs from run to run, such as times, is masked for that.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "newcomer.md"

_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)

_PROGRESS = re.compile(r"beamscribe \w+: [\d,]+ of [\d,]+ done, [\d,]+ failed, ")
"""A line that comes every ten seconds: a slower machine prints more of them, and the page has none."""

_CHANGING = (
    (re.compile(r"\d+\.\d+"), "0.0"),
    (re.compile(r"[\d,]+(?=  bytes of| bytes of)"), "0"),
    (re.compile(r"\d+:\d\d:\d\d"), "0:00:00"),
    # Numbers stand at the right end of a column.
    (re.compile(r" {2,}"), "  "),
)


def record(folder: Path) -> str:
    """What `make demo` prints, both streams as a terminal shows them.

    Args:
        folder: where the demo's files go.

    Raises:
        subprocess.CalledProcessError: if a step fails; what it printed is part of the error.
    """
    binaries = Path(sys.executable).parent
    # What is installed already is used, as the second time that somebody types it.
    command = ["make", "--no-print-directory", "-o", ".venv/installed", "demo", f"BIN={binaries}", f"DEMO={folder}"]
    environment = {name: value for name, value in os.environ.items() if name != "BEAMSCRIBE_MODEL"}
    ended = subprocess.run(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    there = folder.resolve()
    return (
        ended.stdout.replace(f"{binaries}/", ".venv/bin/")
        .replace(there.as_uri(), "file:///…/demo-output")
        .replace(str(there), "demo-output")
        .replace(str(folder), "demo-output")
    )


def written() -> str:
    """The transcript that the page has, without the line that was typed."""
    found = _BLOCK.search(PAGE.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{PAGE} has no block of ```console")
    return found[0].removeprefix("$ make demo\n")


def masked(transcript: str) -> list[str]:
    """The lines that are the same in every run, without the numbers that are not."""
    lines = [line for line in transcript.splitlines() if not _PROGRESS.match(line)]
    for pattern, instead in _CHANGING:
        lines = [pattern.sub(instead, line) for line in lines]
    return lines


def main() -> None:
    """Writes the page's transcript anew."""
    with tempfile.TemporaryDirectory() as folder:
        found = record(Path(folder) / "demo-output")
    found = "".join(line for line in found.splitlines(keepends=True) if not _PROGRESS.match(line))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_BLOCK.sub(lambda _: f"$ make demo\n{found}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
