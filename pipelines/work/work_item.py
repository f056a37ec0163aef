"""A work item: one image that a corpus names, and where it is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from beamscribe.schemas.coco import CocoCaption


class Member(NamedTuple):
    """Where an image is inside a file that holds many.

    Attributes:
        kind: how to read it, one of the constants below.
        place: its number in the file, from 0.
        start: first byte of its headers (archives), row group or batch (tables).
        size: bytes with its headers (tar), bytes as they are stored (zip), row in the group or batch (tables).
        detail: method, CRC-32 and size (zip), column (tables), or why it cannot be read (unreadable).
        check: digest of its headers (tar) or of its name (zip), by which another member is not taken for it.
        version: of the file when it was listed, see `beamscribe.pipelines.sources.versions`; empty: it is not checked.
    """

    kind: str
    place: int
    start: int = 0
    size: int = 0
    detail: str = ""
    check: str = ""
    version: str = ""


TAR, INFLATED_TAR, ZIP, PARQUET, ARROW = "tar member", "inflated tar member", "zip member", "parquet", "arrow"
UNREADABLE = "unreadable"

OLD_TAR, OLD_INFLATED_TAR, OLD_ZIP = "tar", "inflated tar", "zip"
"""Kinds of version 0.1, in whose outputs a report finds photographs: of tars the start and size of the bytes alone, of
zips the number in the directory."""


class Besides(NamedTuple):
    """A member that stands beside an image in its archive, see `beamscribe.pipelines.sources.beside`.

    Attributes:
        suffix: as it was asked for.
        start, size, detail, check: as those of `Member`.
    """

    suffix: str
    start: int
    size: int
    detail: str = ""
    check: str = ""


class WorkItem(NamedTuple):
    """One image that the corpus names.

    Attributes:
        id: COCO image id, else the manifest's id, else the canonical absolute URI.
        uri: where the image is; `container::member` inside a file that holds many.
        file_name: as in the annotations, if there are any.
        captions: what is already said of it.
        text: what is to be spoken.
        container: the file that holds the item, where many share one; such items are read in order.
        member: where in that file; None for records of featurize, which are told by their ids.
        group: references of one group share a shard; empty: each stands for itself.
        part: of a group that is parted since it has more items than a shard holds, which of its parts the item is in;
            None: the group stays together.
        query: of the URL of the file, with its question mark, where it is asked for but stored in no row.
        beside: members that stand beside it in its archive, where they are wanted.
        kept: number of its row among the kept columns that the launcher has, where it has them.
    """

    id: str
    uri: str
    file_name: str = ""
    captions: tuple[CocoCaption, ...] = ()
    text: str = ""
    container: str = ""
    group: str = ""
    member: Member | None = None
    part: int | None = None
    query: str = ""
    beside: tuple[Besides, ...] = ()
    kept: int | None = None

    def to_read(self) -> "WorkItem":
        """With the query, as storage is asked for it."""
        if not self.query:
            return self
        if self.container:
            return self._replace(container=self.container + self.query, query="")
        return self._replace(uri=self.uri + self.query, query="")

    @classmethod
    def from_json(cls, fields: Sequence[Any]) -> "WorkItem":
        """Reads the fields back that JSON has made lists of.

        Raises:
            TypeError: if they are no reference's.
        """
        found = cls(*fields)
        texts = (found.id, found.uri, found.file_name, found.text, found.container, found.group, found.query)
        if set(map(type, texts)) != {str}:
            raise TypeError("a field that is text is none")
        if found.part is not None and type(found.part) is not int:
            raise TypeError("the part of a group is no number")
        if found.kept is not None and type(found.kept) is not int:
            raise TypeError("the row of kept columns is no number")
        return found._replace(
            captions=tuple(CocoCaption(*caption) for caption in found.captions),
            member=Member(*found.member) if found.member else None,
            beside=tuple(Besides(*one) for one in found.beside),
        )
