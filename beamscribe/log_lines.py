"""What commands tell, as text for people or as JSON lines for programs (`--log json`)."""

import contextlib
import datetime
import io
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

TEXT, JSON = FORMS = ("text", "json")

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What a terminal is told between the letters."""


class JsonLines(io.TextIOBase):
    """Takes text and writes each of its lines as a JSON object with `time`, `event` and `message`.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = ""

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """Never: lines are for programs."""
        return False

    def fileno(self) -> int:
        """Of the stream behind it."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Takes text; what has no end of line yet waits for it."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if told := _CONTROLS.sub("", line).rstrip():
                self.event("message", told)
        return len(text)

    def flush(self) -> None:
        """Passes on what is written."""
        self._stream.flush()

    def event(self, name: str, message: str, **fields: Any) -> None:
        """Writes one object."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        told = {"time": now, "event": name, "message": message, **fields}
        # In one piece, so that lines of several threads are not mixed.
        self._stream.write(json.dumps(told, ensure_ascii=False) + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """Writes a line that has no end."""
        if self._begun:
            self.write("\n")


def tell(stream: TextIO, event: str, message: str, **fields: Any) -> None:
    """Tells something: the message for people, the fields too for programs.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
        event: what happened, one word.
        message: one line.
        fields: what it says, as JSON can hold it.
    """
    if isinstance(stream, JsonLines):
        stream.event(event, message, **fields)
    else:
        print(message, file=stream, flush=True)


@contextlib.contextmanager
def told_as(form: str) -> Iterator[None]:
    """Everything that is printed in the body is told in a form of `FORMS`."""
    if form != JSON:
        yield
        return
    before = sys.stdout, sys.stderr
    out, err = JsonLines(sys.stdout), JsonLines(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.finish()
        err.finish()
        sys.stdout, sys.stderr = before
