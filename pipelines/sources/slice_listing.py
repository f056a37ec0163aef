"""What a worker has found in a slice of a container, stored before the slice's rows are.

These files are for containers what `corpus/` is for images that the launcher lists: they say what was asked, and where
the next slice begins. They tell members as the archive does, so that whoever reads them in order finds the same images,
under the same names, as a listing of the whole archive does.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.beside import listed, suffixes_of, with_beside
from beamscribe.pipelines.sources.container_listing import Listing, listing_of
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.sources.links import Link
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import TAR, Member, WorkItem
from beamscribe.schemas.manifest import FOLDER as BOOKKEEPING
from beamscribe.schemas.shapes import check_shape
from beamscribe.schemas.table import check_version
from beamscribe.storage.storage import Storage

FOLDER = f"{BOOKKEEPING}/slices"
VERSION = 1

_LINK = "link"
_NAME = re.compile(rf"{FOLDER}/([0-9a-f]{{16}}-[0-9a-f]{{12}})-([0-9]{{5,}})(-end)?\.json")


class SliceListing(NamedTuple):
    """The members of a slice.

    Attributes:
        number: of the slice, from 0.
        begins: byte of the tar, inflated where it is compressed, entry of the zip, or row of the table at which the
            slice begins.
        ends: where the next one begins.
        found: the members, in their order.
        last: whether nothing comes behind them.
        damage: why the rest of the archive cannot be read, where it cannot.
    """

    number: int
    begins: int
    ends: int
    found: tuple[Inside, ...]
    last: bool = False
    damage: str = ""

    def to_json(self, container: Container) -> bytes:
        """As a file."""
        fields: dict[str, Any] = {"schema_version": VERSION, "container": container.uri, "version": container.version}
        fields |= {**self._asdict(), "found": [_packed(one) for one in self.found]}
        # Names that are not UTF-8 hold surrogates, which JSON's escapes keep.
        return json.dumps(fields).encode()

    @classmethod
    def from_json(cls, data: bytes, what: str) -> "SliceListing":
        """Reads one back.

        Args:
            data: of the file.
            what: the file, named for people.

        Raises:
            ValueError: if it is damaged.
            NewerSchemaError: if a newer Beamscribe wrote it.
        """
        try:
            fields = json.loads(data)
            check_version(what, fields["schema_version"], VERSION)
            members = tuple(_unpacked(*one) for one in fields["found"])
            found = cls(**{**{name: fields[name] for name in cls._fields}, "found": members})
            check_shape(found._replace(found=()), cls)
        except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"{what} is damaged: {error}") from error
        else:
            return found


def _packed(found: Inside) -> list[Any]:
    if isinstance(found.what, str):
        return [found.name, found.what]
    if isinstance(found.what, Link):
        return [found.name, _LINK, found.what.target, found.what.symbolic]
    member = found.what
    return [found.name, member.kind, member.start, member.size, member.detail, member.check]


def _unpacked(name: str, what: str, *fields: Any) -> Inside:
    if not fields:
        found = Inside(name, what)
    elif what == _LINK:
        found = Inside(name, Link(name, *fields))
    else:
        start, size, detail, check = fields
        found = Inside(name, Member(what, 0, start, size, detail, check))
    check_shape(found, Inside)
    return found


def listing_name(container: Container, number: int, last: bool) -> str:
    """The file of a slice below the output."""
    return f"{FOLDER}/{container.name}-{container.asked}-{number:05d}{'-end' if last else ''}.json"


class Listed(NamedTuple):
    """What is known of a container.

    Attributes:
        items: its images so far, in its order; links to what stands behind them come last, when the whole is known.
        skipped: what is left out of it, counted by reason.
        listed: everything that it names so far: items + skipped.
        slices: of which the members are known.
        ends: where the next slice begins.
        whole: whether there is none.
    """

    items: Sequence[WorkItem] = ()
    skipped: Counter[str] = Counter()
    listed: int = 0
    slices: int = 0
    ends: int = 0
    whole: bool = False


def listed_in(container: Container, slices: Iterable[SliceListing]) -> Listed:
    """What slices from the beginning of a container tell of it.

    Raises:
        ValueError: if they do not follow each other.
    """
    listing = listing_of(container)
    found: list[WorkItem | Skipped] = []
    number = ends = 0
    whole = False
    for one in slices:
        if (one.number, one.begins) != (number, ends) or whole:
            raise ValueError(f"slice {one.number} of {container.uri} does not follow the one before it")
        found += replay(listing, one, suffixes_of(container.beside))
        number, ends, whole = number + 1, one.ends, one.last
    items = tuple(one for one in found if isinstance(one, WorkItem))
    skipped: Counter[str] = Counter()
    for other in found:
        if isinstance(other, Skipped):
            skipped[other.reason] += other.count
    return Listed(items, skipped, len(items) + skipped.total(), number, ends, whole)


def replay(listing: Listing, one: SliceListing, beside: Collection[str] = ()) -> list[WorkItem | Skipped]:
    """What the listing of a container makes of its next slice.

    Args:
        listing: of what is before it.
        one: the slice.
        beside: suffixes of members that are wanted beside images.
    """
    # Of a zip, and of a table, there is nothing beside images.
    found = list(with_beside(TAR, listed(listing, one.found), beside))
    if one.last:
        found += listing.links()
        if one.damage:
            found.append(listing.damage(one.damage))
    return found


class StoredSlices:
    """The slices of all containers that an output holds.

    Args:
        output: which one.
    """

    def __init__(self, output: Storage) -> None:
        self._output = output
        self._names: dict[str, dict[int, str]] = {}
        for entry in output.files(FOLDER, ".json"):
            if match := _NAME.fullmatch(entry.name):
                numbers = self._names.setdefault(match[1], {})
                # One with nothing behind it is the later of two.
                if match[3] or int(match[2]) not in numbers:
                    numbers[int(match[2])] = entry.name

    def names_of(self, container: Container) -> list[str]:
        """Files of the slices of a container, from its beginning as far as none is missing."""
        numbers = self._names.get(f"{container.name}-{container.asked}", {})
        return [numbers[number] for number in itertools.takewhile(numbers.__contains__, itertools.count())]

    def is_whole(self, container: Container) -> bool:
        """Whether a container was read to its end."""
        return "".join(self.names_of(container)[-1:]).endswith("-end.json")

    def of(self, container: Container, slices: int | None = None) -> Listed:
        """What is known of a container.

        Args:
            container: which one.
            slices: of it that are looked at, from its beginning; all by default.

        Raises:
            ValueError: if a file is damaged.
        """
        return listed_in(container, read_slices(self._output, self.names_of(container)[:slices]))


def read_slices(output: Storage, names: Sequence[str]) -> list[SliceListing]:
    """Slices in the order of the names of their files.

    Raises:
        ValueError: if one is damaged.
    """
    found = zip(names, output.read_each(names), strict=True)
    return [SliceListing.from_json(data, output.uri(name)) for name, data in found]
