"""A container as a work item: an archive or a table of images, of which nothing is known until a worker reads it."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from beamscribe.pipelines.work.work_item import PARQUET
from beamscribe.schemas.shapes import check_shape


class Container(NamedTuple):
    """An archive whose members, or a table whose rows, nobody has listed, or not all of them.

    Attributes:
        uri: of the file.
        kind: of its members, see `beamscribe.pipelines.work.work_item`.
        size: bytes of the file.
        version: of the file when the run began, see `beamscribe.pipelines.sources.versions`.
        inside: what is asked for in it, as `beamscribe.pipelines.sources.archives.list_archive` takes it; of a table
            the columns, see `beamscribe.pipelines.sources.table_listing.AskedRows`.
        slices: of it whose members are known, from its beginning; a worker goes on behind them.
        slice_size: images that are committed together from there on.
        beside: what is wanted of an image's sample, see `beamscribe.pipelines.sources.beside.packed_suffixes`.
    """

    uri: str
    kind: str
    size: int
    version: str
    inside: str = ""
    slices: int = 0
    slice_size: int = 1
    beside: str = ""

    @property
    def name(self) -> str:
        """Tells it from other containers; no shard of listed members begins so."""
        return hashlib.blake2b(self.uri.encode(), digest_size=8, person=b"slices").hexdigest()

    @property
    def asked(self) -> str:
        """Tells this version of it, and what is asked for in it, from others."""
        return hashlib.blake2b(f"{self.version}\0{self.inside}".encode(), digest_size=6).hexdigest()

    def slice_name(self, number: int) -> str:
        """The shard of one of its slices."""
        return f"{self.name}-{number:05d}"

    @classmethod
    def from_json(cls, fields: Sequence[Any]) -> "Container":
        """Reads the fields back that JSON has made a list of.

        Raises:
            TypeError: if they are no container's.
        """
        found = cls(*fields)
        check_shape(found, cls)
        return found


def noun_of(containers: Iterable[Container]) -> str:
    """What one of some containers is called, for people: a command has archives or tables, never both."""
    return "table" if any(one.kind == PARQUET for one in containers) else "archive"
