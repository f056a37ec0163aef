"""Tells a process that crashed by itself from one that was killed: of a crash, an image may be the cause.

The handler of a fatal signal can write to an open file and nothing else. So a local run holds a file open below its
output, which is empty unless the process crashed.
"""

import contextlib
import faulthandler
import os
from collections.abc import Iterator

from beamscribe.schemas import manifest
from beamscribe.storage.storage import Storage

FOLDER = f"{manifest.FOLDER}/crashes"


@contextlib.contextmanager
def crashes_noted(output: Storage) -> Iterator[None]:
    """Notes a crash of this process below a local output; not where another handler of crashes is installed."""
    if not output.local or faulthandler.is_enabled():
        yield
        return
    path = output.path(f"{FOLDER}/{output.run}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(path, "wb") as file:
            faulthandler.enable(file)
            try:
                yield
            finally:
                faulthandler.disable()
    finally:
        # Notes of other runs may be there.
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))


def crashed_before(output: Storage) -> bool:
    """Whether the process of an earlier run crashed; forgets it. Only a launcher may ask."""
    notes = output.files(FOLDER)
    for note in notes:
        output.delete(note.name)
    return any(note.size for note in notes)
