"""What stands beside an image in an archive, as WebDataset has it: members of one sample follow each other, and their
names differ only behind the first dot.
"""

import collections
import json
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.work.work_item import UNREADABLE, ZIP, Besides, Member, WorkItem

MOST_MEMBERS, MOST_BYTES = 64, 2**26
"""Of a sample that are looked at before and behind an image: names such as `2026.01.02-photo.jpg` make a whole archive
one sample."""

Value = TypeVar("Value")


class Name(NamedTuple):
    """A member's name.

    Attributes:
        sample: what is before the first dot, with the folder.
        rest: what is behind it, in small letters.
    """

    sample: str
    rest: str

    @classmethod
    def of(cls, name: str) -> "Name":
        """Parts a name."""
        folder, base = posixpath.split(name)
        first, _, rest = base.partition(".")
        return cls(posixpath.join(folder, first), rest.lower())

    def rests(self, suffix: str) -> list[str]:
        """What members may be called that stand beside an image with a suffix: `0001.seg.json` of `0001.seg.png`, else
        `0001.json`.
        """
        stem = self.rest.rpartition(".")[0]
        return [f"{stem}.{suffix.lower()}", suffix.lower()] if stem else [suffix.lower()]


def is_beside(name: str, suffixes: Iterable[str]) -> bool:
    """Whether a member may be wanted beside an image."""
    rest = Name.of(name).rest
    return any(rest == suffix.lower() or rest.endswith(f".{suffix.lower()}") for suffix in suffixes)


def packed_suffixes(suffixes: Iterable[str]) -> str:
    """Suffixes as a field of a container; empty if there are none."""
    found = list(suffixes)
    return json.dumps(found) if found else ""


def suffixes_of(packed: str) -> tuple[str, ...]:
    """Suffixes back."""
    return tuple(json.loads(packed)) if packed else ()


class Passed(NamedTuple, Generic[Value]):
    """A member, and what stands beside it, by suffix."""

    value: Value
    beside: Mapping[str, Value]


class SampleWindow(Generic[Value]):
    """Members in the order of an archive → the same, images held back until what may stand beside them has passed.

    What is beside an image depends on the names and sizes of members alone, from the beginning of its sample on.

    Args:
        suffixes: of members that are wanted.
    """

    def __init__(self, suffixes: Collection[str]) -> None:
        self._suffixes = suffixes
        self._sample: str | None = None
        self._held: collections.deque[tuple[Name, int, Value, bool]] = collections.deque()
        self._bytes = 0
        self._found: collections.OrderedDict[str, Value] = collections.OrderedDict()

    def add(self, name: str, size: int, value: Value, is_image: bool, is_file: bool = True) -> Iterator[Passed[Value]]:
        """Takes a member.

        Args:
            name: of it.
            size: in the archive.
            value: what is to be known of it.
            is_image: whether members beside it are wanted.
            is_file: whether it may stand beside an image.

        Yields:
            Members that need not wait any longer.
        """
        parted = Name.of(name)
        if parted.sample != self._sample:
            yield from self.end()
            self._sample = parted.sample
        if is_file and is_beside(name, self._suffixes):
            self._found.setdefault(parted.rest, value)
            if len(self._found) > MOST_MEMBERS:
                self._found.popitem(last=False)
        self._held.append((parted, size, value, is_image))
        self._bytes += size
        while len(self._held) > MOST_MEMBERS or (self._bytes > MOST_BYTES and len(self._held) > 1):
            yield self._next()

    def end(self) -> Iterator[Passed[Value]]:
        """Nothing more comes of the sample."""
        while self._held:
            yield self._next()
        self._found.clear()

    def _next(self) -> Passed[Value]:
        name, size, value, is_image = self._held.popleft()
        self._bytes -= size
        return Passed(value, _beside(name, self._found, self._suffixes) if is_image else {})


def _beside(name: Name, found: Mapping[str, Value], suffixes: Collection[str]) -> dict[str, Value]:
    beside = {}
    for suffix in suffixes:
        rest = next((rest for rest in name.rests(suffix) if rest in found), None)
        if rest is not None:
            beside[suffix] = found[rest]
    return beside


_Listed = tuple[Inside, WorkItem | Skipped | None]


def with_beside(kind: str, members: Iterable[_Listed], suffixes: Collection[str]) -> Iterator[WorkItem | Skipped]:
    """What a listing makes of members, images with what stands beside them; of links there is nothing beside them.

    Args:
        kind: of the archive. The members of a sample follow each other in a tar; in a zip they may be anywhere.
        members: in order, each with what `ArchiveListing.next` made of it.
        suffixes: that are wanted; none of them: members are as they are.
    """
    if not suffixes:
        yield from (item for _, item in members if item is not None)
        return
    errors: list[Exception] = []
    whole = until_error(members, errors)
    passed = _anywhere(whole, suffixes) if kind == ZIP else _in_order(whole, suffixes)
    for (found, item), beside in passed:
        if isinstance(item, WorkItem) and isinstance(found.what, Member):
            there = ((suffix, one.what) for suffix, (one, _) in beside.items() if isinstance(one.what, Member))
            item = item._replace(
                beside=tuple(Besides(suffix, one.start, one.size, one.detail, one.check) for suffix, one in there)
            )
        if item is not None:
            yield item
    if errors:
        raise errors[0]


def until_error(members: Iterable[Value], errors: list[Exception]) -> Iterator[Value]:
    """Members as far as there are some, and why there are no more."""
    try:
        yield from members
    except Exception as error:  # noqa: BLE001 - raised again behind what came before.
        errors.append(error)


def _is_file(found: Inside) -> bool:
    return isinstance(found.what, Member) and found.what.kind != UNREADABLE


def _in_order(members: Iterable[_Listed], suffixes: Collection[str]) -> Iterator[Passed[_Listed]]:
    window: SampleWindow[_Listed] = SampleWindow(suffixes)
    for found, item in members:
        size = found.what.size if isinstance(found.what, Member) else 0
        yield from window.add(found.name, size, (found, item), isinstance(item, WorkItem), _is_file(found))
    yield from window.end()


def _anywhere(members: Iterable[_Listed], suffixes: Collection[str]) -> Iterator[Passed[_Listed]]:
    listed = list(members)
    samples: dict[str, dict[str, _Listed]] = {}
    for one in listed:
        if _is_file(one[0]) and is_beside(one[0].name, suffixes):
            name = Name.of(one[0].name)
            samples.setdefault(name.sample, {}).setdefault(name.rest, one)
    for one in listed:
        name = Name.of(one[0].name)
        yield Passed(one, _beside(name, samples.get(name.sample, {}), suffixes))


class _Lists(Protocol):
    """A listing of a container."""

    def next(self, found: Inside, /) -> WorkItem | Skipped | None:
        """The next member."""
        ...


def listed(listing: _Lists, members: Iterable[Inside]) -> Iterator[_Listed]:
    """Members, each with what a listing makes of it."""
    return ((one, listing.next(one)) for one in members)
