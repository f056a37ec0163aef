"""Files that hold many images, and what the readers of them share."""

import json
import os
from typing import IO, Any, NamedTuple

from beamscribe.storage.location import locate
from beamscribe.storage.uri import open_uri, read_range

OPEN_CONTAINERS = 4
"""That a process keeps open: the images of a shard come from one."""


class UnreadableMemberError(OSError):
    """A member of a container cannot be read; the message says why."""


class Where(NamedTuple):
    """A container.

    Attributes:
        uri: of the file.
        options: passed to fsspec, as JSON.
        allow_private: as in `beamscribe.storage.uri.read_uri`.
    """

    uri: str
    options: str
    allow_private: bool

    @classmethod
    def of(cls, uri: str, options: dict[str, Any], allow_private: bool) -> "Where":
        """Options as they are given to fsspec."""
        return cls(uri, json.dumps(options, sort_keys=True), allow_private)

    @property
    def fsspec_options(self) -> dict[str, Any]:
        """The options as they were given."""
        return json.loads(self.options)

    def open(self) -> IO[bytes]:
        """The file, to seek in."""
        return open_uri(self.uri, self.fsspec_options, self.allow_private)

    def local_path(self) -> str | None:
        """Where it is on this machine's disk, if it is there."""
        found = locate(self.uri)
        return found.path if found.local else None

    def size(self) -> int:
        """Bytes of the file.

        Raises:
            OSError: if storage does not say.
        """
        with self.open() as file:
            return file.seek(0, os.SEEK_END)

    def read(self, position: int, size: int) -> bytes:
        """Some bytes of the file.

        Raises:
            OSError: if they cannot be read.
        """
        return read_range(self.uri, position, size, json.loads(self.options), self.allow_private)
