"""What the documents tell people to type."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
PROGRAMS = ("beamscribe", "make", "python", "python3.11", "bq", ".venv/bin/pip")

_NEEDS = re.compile(r"<!-- needs: (.+) -->")


class Command(NamedTuple):
    """A line to type, or a block of Python.

    Attributes:
        text: without its margin.
        needs: what it needs that a test does not have, as a comment before its block says; empty if nothing.
        python: whether it is Python.
    """

    text: str
    needs: str
    python: bool = False

    @property
    def words(self) -> list[str]:
        """Of a line to type."""
        return shlex.split(self.text)


def commands(document: str) -> list[Command]:
    """The commands of a document, in its order: indented lines that begin with a program, and blocks of Python."""
    found: list[Command] = []
    needs, block = "", None
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    # A command may go on behind a backslash.
    for line in re.sub(r"\\\n +", "", text).splitlines():
        if block is not None:
            if line == "```":
                found.append(Command("\n".join(block), needs, python=True))
                block = None
            else:
                block.append(line)
        elif line == "```python":
            block = []
        elif marked := _NEEDS.fullmatch(line):
            needs = marked[1]
        elif line.startswith("    "):
            # An example of what a program prints begins with its name and a colon.
            if line.split()[0] in PROGRAMS and not re.match(r" {4}beamscribe \w+:", line):
                found.append(Command(line.strip(), needs))
        elif line:
            needs = ""
    return found
