"""A container gone through once by one worker: slices of it as shards, whose images are told while they pass.

An image that is a link to another member is done at the end, by reading that member again.
"""

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence

from beamscribe.pipelines.images.container_stream import ContainerStream
from beamscribe.pipelines.images.reading import ReadFile, Reading
from beamscribe.pipelines.images.sample_columns import SampleColumns
from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.beside import Name
from beamscribe.pipelines.sources.container_listing import listing_of
from beamscribe.pipelines.sources.slice_listing import SliceListing, listing_name, read_slices
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PassedSlice, PendingItem, Shard, asked_digest
from beamscribe.pipelines.work.work_item import PARQUET, ZIP, Member, WorkItem
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.receipt import RECEIPTS

MEMBERS_A_SLICE = 100_000
"""At most, where nearly all of them are no images: a slice is stored as one file."""


def container_shards(
    container: Container, reading: Reading, run: Run, columns: SampleColumns | None = None
) -> Generator[Shard, None, None]:
    """The shards of a container that are still to do, each to be committed before the next is asked for.

    Args:
        container: of which some slices may be known.
        reading: how.
        run: of the job; slices that another attempt of it has committed are not done again.
        columns: what is kept of what stands beside images.

    Raises:
        ContainerUnreadError: if it cannot be read to its end, or is another one by now.
    """
    known = _committed_slices(container, run)
    listing, links = listing_of(container), []
    for one in known:
        found = [(member, listing.next(member)) for member in one.found]
        if one.number >= container.slices:
            links += _links(found)
    begins = known[-1].ends if known else 0
    stream = ContainerStream(container, reading, run, begins, listing, columns, len(known))
    numbers = itertools.count(len(known))
    with contextlib.closing(stream):
        for number in numbers:
            passing = _Slice(stream, number, begins)
            yield Shard(container.slice_name(number), (), passing=passing)
            passing.listed()
            stream.restarts.drop(number)
            links, begins = [*links, *passing.links], passing.ends
            if passing.last:
                break
    items = [PendingItem(item) for item in links]
    for start in range(0, len(items), container.slice_size):
        yield Shard(container.slice_name(next(numbers)), tuple(items[start : start + container.slice_size]))


def _links(found: Sequence[tuple[Inside, object]]) -> list[WorkItem]:
    return [item for member, item in found if isinstance(item, WorkItem) and not isinstance(member.what, Member)]


def _committed_slices(container: Container, run: Run) -> list[SliceListing]:
    """Slices that need not be done: those that the launcher knew, and what was committed since."""
    output = run.output
    known = read_slices(output, [listing_name(container, number, last=False) for number in range(container.slices)])
    while output.exists(name := listing_name(container, len(known), last=False)):
        [one] = read_slices(output, [name])
        listing = listing_of(container)
        ids: list[str] = []
        for stored in (*known, one):
            items = [(member, listing.next(member)) for member in stored.found]
            ids = [item.id for member, item in items if isinstance(item, WorkItem) and isinstance(member.what, Member)]
        stem = f"{container.slice_name(one.number)}-{asked_digest(run.fingerprint, ids)}"
        if ids and not output.exists(f"{RECEIPTS}/{stem}.json"):
            break
        known.append(one)
    return known


class _Slice(Iterator[ReadFile | FailureRow]):
    """The images of a slice, of which nothing is known until they are told.

    Of a tar a slice ends with the sample of its last image, as WebDataset calls members that differ only behind the
    first dot of their names, so that what stands beside an image is in the image's slice.

    Attributes:
        ends: where the next slice begins, see `Passed`, once this one is told.
        last: whether there is none.
        links: images of this slice that are other members.
    """

    def __init__(self, stream: ContainerStream, number: int, begins: int) -> None:
        self._stream, self._number, self._begins = stream, number, begins
        self._found: list[Inside] = []
        self._todo: list[PendingItem] = []
        self._told = False
        self._sample: str | None = None
        self.ends, self.last = begins, False
        self.links: list[WorkItem] = []

    def __next__(self) -> ReadFile | FailureRow:
        while not self._told:
            event = self._stream.peek()
            if event is None:
                self._told = self.last = True
                self.links += self._stream.rest
                break
            full = len(self._todo) >= self._stream.container.slice_size or len(self._found) >= MEMBERS_A_SLICE
            # Of a zip that is gone through, and of a table, nothing is wanted beside images.
            in_samples = self._stream.container.kind not in (ZIP, PARQUET)
            sample = Name.of(event.found.name).sample if in_samples else None
            apart = sample is None or sample != self._sample
            if (full and apart) or len(self._found) >= 2 * MEMBERS_A_SLICE:
                self._told, self.ends = True, event.begins
                break
            self._stream.take()
            self._found.append(event.found)
            self._sample = sample
            if event.link is not None:
                self.links.append(event.link)
            if event.todo is not None and event.file is not None:
                self._todo.append(event.todo)
                return event.file
        raise StopIteration

    def release(self, file: ReadFile) -> None:
        """As `ReadAhead`."""
        self._stream.release(len(file.data))

    def close(self) -> None:
        """As `ReadAhead`; the next slice goes on reading."""

    def listed(self) -> tuple[PendingItem, ...]:
        """All images of the slice, whose bytes are passed over."""
        for file in self:
            if isinstance(file, ReadFile):
                self.release(file)
        return tuple(self._todo)

    def finish(self) -> PassedSlice:
        """What was found, after the container is known to be the same still."""
        todo = self.listed()
        stream = self._stream
        stream.check(at_end=self.last)
        if not self.last:
            stream.restarts.store(self._number + 1, self.ends)
        one = SliceListing(
            self._number, self._begins, self.ends, tuple(self._found), self.last, stream.damage if self.last else ""
        )
        name = listing_name(stream.container, self._number, self.last)
        return PassedSlice(todo, name, one.to_json(stream.container))
