"""What is found in a Parquet table that a worker goes through: rows as members of a container, and their work items."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.columns import TEXT, Column, Columns
from beamscribe.pipelines.sources.links import Link
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.sources.text_lines import storable
from beamscribe.pipelines.work.work_item import PARQUET, UNREADABLE, Member, WorkItem
from beamscribe.schemas.counted import counted
from beamscribe.schemas.shapes import check_shape
from beamscribe.storage.location import folder_of, named_uri


class AskedRows(NamedTuple):
    """What is asked for in a table.

    Attributes:
        columns: as `--uri-column` and `--id-column` say.
        allow_http: whether a row may name an image on the web.
    """

    columns: Columns
    allow_http: bool

    def to_inside(self) -> str:
        """As `Container.inside` has it."""
        return json.dumps({"uri": self.columns.uri, "id": self.columns.id, "web": self.allow_http})

    @classmethod
    def of_inside(cls, inside: str) -> "AskedRows":
        """Reads it back.

        Raises:
            ValueError: if it is none.
        """
        try:
            fields = json.loads(inside)
            asked = cls(Columns(fields["uri"], fields["id"]), fields["web"])
            check_shape(asked, cls)
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it says nothing of the columns of a table: {error}") from error
        return asked


def insides_of(column: Column, part: Part, listed: int) -> Iterator[Inside]:
    """Rows of a part as members.

    Args:
        column: of images or of their names.
        part: the rows.
        listed: rows before them.
    """
    for row in range(part.rows):
        number = listed + row
        id = part.ids[row] if part.ids else ""
        name = part.names[row] if part.names else None
        problem = part.damage or part.problems.get(row, "")
        if problem:
            yield _unreadable(id, f"row {number}: {problem}")
        elif name is None:
            yield Inside(id, Member(PARQUET, 0, part.group, part.first + row, column.name))
        elif name:
            yield Inside(id, Link(id, name, symbolic=True))
        else:
            yield _unreadable(id, f"row {number} has no URI" if column.kind == TEXT else f"row {number} holds no image")


def _unreadable(id: str, detail: str) -> Inside:
    return Inside(id, Member(UNREADABLE, 0, detail=storable(detail)))


class TableListing:
    """What has been found so far in a table, as `ArchiveListing` tells it of an archive.

    Items are those of a listing, see `beamscribe.pipelines.sources.table_items`, but for an id that two images of a
    table have: the second gets one of its own. Rows that name a file come last, as links.
    """

    def __init__(self, uri: str, inside: str, version: str) -> None:
        self._uri, self._version = uri, version
        self._allow_http = AskedRows.of_inside(inside).allow_http
        self._ids: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._nameless = bytearray()
        self._named: list[tuple[int, Link]] = []

    @property
    def _place(self) -> int:
        return len(self._nameless)

    def next(self, found: Inside) -> WorkItem | None:
        """The next row, in the order of the table; None: it names a file and is told at the end, see `links`."""
        place, what = self._place, found.what
        self._nameless.append(not found.name)
        if isinstance(what, Link):
            self._named.append((place, what))
            return None
        if isinstance(what, str):
            what = Member(UNREADABLE, 0, detail=what)
        return self._item(place, found.name, what)

    def links(self) -> Iterator[WorkItem]:
        """Files that rows name, once the table is known."""
        folder = folder_of(self._uri)
        known: dict[tuple[str, str], str] = {}
        for place, link in self._named:
            try:
                uri = named_uri(link.target, folder, allow_http=self._allow_http).uri
            except ValueError as error:
                detail = storable(f"row {place}: {error}")
                yield self._item(place, link.name, Member(UNREADABLE, 0, detail=detail))
                continue
            # The same file under the same id is a repeat.
            id = known.get((link.name, uri)) or self._unique(link.name or uri)
            known[link.name, uri] = id
            yield WorkItem(id, uri)

    def damage(self, why: str) -> WorkItem:
        """The table itself, as a failure."""
        place = self._place
        listed = (
            f"the table is damaged; {counted(place, 'row')} of it could be listed" if place else "it cannot be listed"
        )
        member = Member(UNREADABLE, place, detail=storable(f"{listed}: {why}"))
        return WorkItem(self._uri, self._uri, container=self._uri, member=member)

    def _item(self, place: int, id: str, member: Member) -> WorkItem:
        uri = f"{self._uri}::{place}"
        id = self._unique(id) if id else uri if uri not in self._ids else self._unique(uri)
        if member.kind == UNREADABLE:
            return WorkItem(id, self._uri, member=member._replace(place=place))
        member = member._replace(place=place, version=self._version)
        return WorkItem(id, uri, container=self._uri, member=member)

    def _unique(self, id: str) -> str:
        """An id that is not taken yet: `7#2` is that of the second image with the id `7`."""
        unique = id
        while unique in self._ids or self._is_taken_by_place(unique):
            self._repeats[id] = self._repeats.get(id, 1) + 1
            unique = f"{id}#{self._repeats[id]}"
        self._ids.add(unique)
        return unique

    def _is_taken_by_place(self, id: str) -> bool:
        """Whether it is that of an earlier row without one, whose number tells it."""
        number = id.removeprefix(f"{self._uri}::")
        if number == id or not number.isascii() or not number.isdigit() or len(number) > 15:
            return False
        return int(number) < self._place - 1 and bool(self._nameless[int(number)]) and str(int(number)) == number
