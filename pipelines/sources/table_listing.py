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
        column: of images, as `--uri-column` says.
        allow_http: whether a row may name an image on the web.
    """

    column: str | None
    allow_http: bool

    @property
    def columns(self) -> Columns:
        """The columns that are read: none of ids, see `TableListing`."""
        return Columns(self.column, "")

    def to_inside(self) -> str:
        """As `Container.inside` has it."""
        return json.dumps({"column": self.column, "web": self.allow_http})

    @classmethod
    def of_inside(cls, inside: str) -> "AskedRows":
        """Reads it back.

        Raises:
            ValueError: if it is none.
        """
        try:
            fields = json.loads(inside)
            asked = cls(fields["column"], fields["web"])
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
        name = part.names[row] if part.names else None
        problem = part.damage or part.problems.get(row, "")
        if problem:
            yield _unreadable(f"row {number}: {problem}")
        elif name is None:
            yield Inside("", Member(PARQUET, 0, part.group, part.first + row, column.name))
        elif name:
            yield Inside("", Link("", name, symbolic=True))
        else:
            yield _unreadable(f"row {number} has no URI" if column.kind == TEXT else f"row {number} holds no image")


def _unreadable(detail: str) -> Inside:
    return Inside("", Member(UNREADABLE, 0, detail=storable(detail)))


class TableListing:
    """What has been found so far in a table, as `ArchiveListing` tells it of an archive.

    The id of every item is the table's URI with the number of the row: an id of a column could be that of an image in
    another table, of which a worker knows nothing. Rows that name a file come last, as links.
    """

    def __init__(self, uri: str, inside: str, version: str) -> None:
        self._uri, self._version = uri, version
        self._allow_http = AskedRows.of_inside(inside).allow_http
        self._place = 0
        self._named: list[tuple[int, str]] = []

    def next(self, found: Inside) -> WorkItem | None:
        """The next row, in the order of the table; None: it names a file and is told at the end, see `links`."""
        place, what = self._place, found.what
        self._place += 1
        if isinstance(what, Link):
            self._named.append((place, what.target))
            return None
        return self._item(place, what if isinstance(what, Member) else Member(UNREADABLE, 0, detail=what))

    def links(self) -> Iterator[WorkItem]:
        """Files that rows name, once the table is known."""
        folder = folder_of(self._uri)
        for place, target in self._named:
            try:
                uri = named_uri(target, folder, allow_http=self._allow_http).uri
            except ValueError as error:
                yield self._item(place, Member(UNREADABLE, 0, detail=storable(f"row {place}: {error}")))
            else:
                yield WorkItem(self._id(place), uri)

    def damage(self, why: str) -> WorkItem:
        """The table itself, as a failure."""
        place = self._place
        listed = (
            f"the table is damaged; {counted(place, 'row')} of it could be listed" if place else "it cannot be listed"
        )
        member = Member(UNREADABLE, place, detail=storable(f"{listed}: {why}"))
        return WorkItem(self._uri, self._uri, container=self._uri, member=member)

    def _id(self, place: int) -> str:
        return f"{self._uri}::{place}"

    def _item(self, place: int, member: Member) -> WorkItem:
        member = member._replace(place=place)
        if member.kind == UNREADABLE:
            return WorkItem(self._id(place), self._uri, member=member)
        uri = self._id(place)
        return WorkItem(uri, uri, container=self._uri, member=member._replace(version=self._version))
