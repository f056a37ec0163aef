"""The members of a container, read ahead of the decoding by one thread, within bounds; what has passed is not kept."""

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.images.read_ahead import BYTES_AHEAD
from beamscribe.pipelines.images.reading import ReadFile, Reading, not_read
from beamscribe.pipelines.images.sample_columns import SampleColumns
from beamscribe.pipelines.sources.archive_listing import Inside, left_out
from beamscribe.pipelines.sources.beside import Passed as PassedMember
from beamscribe.pipelines.sources.beside import SampleWindow, is_beside, suffixes_of, until_error
from beamscribe.pipelines.sources.container_listing import Listing
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.parquet_values import Place
from beamscribe.pipelines.sources.restarts import Restarts
from beamscribe.pipelines.sources.table_passing import pass_through_table
from beamscribe.pipelines.sources.tar_passing import Passed, pass_through_tar
from beamscribe.pipelines.sources.versions import ReplacedError, check_version
from beamscribe.pipelines.sources.zip_passing import pass_through_zip
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.run import ContainerUnreadError, Run
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import PARQUET, ZIP, Member, WorkItem
from beamscribe.schemas.failure_row import FailureRow

MEMBERS_AHEAD = 4096
"""That are passed before they are asked for; most hold no bytes that are kept."""

FILES_HELD, BYTES_HELD = 16, 2**19
"""Read and not yet decoded: as many files as keep the decoders busy, and more only within so many bytes. What is ahead
is lost to a kill, and read again."""

CHECK_SECONDS = 5.0
"""Between two looks whether a remote container is still the same one: each is a request, for which a commit waits."""


class Event(NamedTuple):
    """A member that was passed.

    Attributes:
        found: as a listing finds it.
        begins: as of `Passed`.
        todo: the image that it is.
        file: of that, or why it cannot be told.
        link: an image that is another member.
    """

    found: Inside
    begins: int
    todo: PendingItem | None = None
    file: ReadFile | FailureRow | None = None
    link: WorkItem | None = None

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return len(self.file.data) if isinstance(self.file, ReadFile) else 0


class ContainerStream:
    """The members of a container, in their order.

    Attributes:
        container: which one.
        run: of the job.
        restarts: where it can be begun again.
        where: the container is.
        damage: why the rest cannot be read, once the end is reached.
        rest: images that only the whole archive tells, once the end is reached.
    """

    def __init__(
        self,
        container: Container,
        reading: Reading,
        run: Run,
        begins: int,
        listing: Listing,
        columns: SampleColumns | None = None,
        first: int = 0,
    ) -> None:
        self.container, self.run, self.damage = container, run, ""
        self.restarts = Restarts(container, run.output)
        self._point = self.restarts.load(first, begins)
        self.rest: list[WorkItem] = []
        self.where = Where.of(container.uri, reading.storage_options, reading.allow_private)
        self._reading, self._begins, self._listing, self._columns = reading, begins, listing, columns
        self._suffixes = suffixes_of(container.beside) if columns else ()
        self._changed = threading.Condition()
        self._events: collections.deque[Event] = collections.deque()
        self._held = self._files = 0
        self._ended = self._closed = False
        self._error: Exception | None = None
        # It is looked at when it is opened.
        self._checked = time.monotonic()
        threading.Thread(target=self._go, name="container", daemon=True).start()

    def peek(self) -> Event | None:
        """The next member, which stays the next; None at the end.

        Raises:
            ContainerUnreadError: if the storage cannot read it.
        """
        with self._changed:
            while not self._events and not self._ended:
                self._changed.wait()
            if self._events:
                return self._events[0]
        if self._error is not None:
            raise self.unread(self._error) from self._error
        return None

    def check(self, at_end: bool) -> None:
        """Makes sure that the container is the one that was asked for, at its end and from time to time.

        Raises:
            ContainerUnreadError: if it is another, or the storage does not tell.
        """
        now = time.monotonic()
        if not at_end and now - self._checked < CHECK_SECONDS and self.where.local_path() is None:
            return
        try:
            check_version(self.where, self.container.version, fresh=True)
        except OSError as error:
            raise self.unread(error) from error
        self._checked = now

    def unread(self, error: Exception) -> ContainerUnreadError:
        """The container, whose rest cannot be done because of an error."""
        why = "it was replaced while the job ran" if isinstance(error, ReplacedError) else str(error)
        return ContainerUnreadError(f"{self.container.uri} cannot be read to its end: {why}")

    def take(self) -> None:
        """The next member is not the next any more; its bytes are held until `release`."""
        with self._changed:
            event = self._events.popleft()
            self._changed.notify_all()
        self.restarts.passed(event.begins)

    def release(self, size: int) -> None:
        """So many bytes are no longer needed."""
        with self._changed:
            self._held -= size
            self._files -= size > 0
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more is wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _go(self) -> None:
        try:
            for event in self._passed():
                with self._changed:
                    while not self._closed and not self._has_room(event.size):
                        self._changed.wait()
                    if self._closed:
                        return
                    self._events.append(event)
                    self._held += event.size
                    self._files += event.size > 0
                    self._changed.notify_all()
        except OSError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - whatever a stranger's archive brings about is its own failure
            self.damage = str(error) if isinstance(error, DamagedArchiveError) else f"{type(error).__name__}: {error}"
        finally:
            if self._error is None and not self._closed:
                self.rest = [item for item in self._listing.links() if isinstance(item, WorkItem)]
                self.rest += [self._listing.damage(self.damage)] if self.damage else []
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        if not size or not self._held:
            return len(self._events) < MEMBERS_AHEAD
        most = BYTES_AHEAD if self._files < FILES_HELD else BYTES_HELD
        return len(self._events) < MEMBERS_AHEAD and self._held + size <= most

    def _passed(self) -> Iterator[Event]:
        inside = self.container.inside

        def wanted(name: str) -> bool:
            return not left_out(name, inside) or is_beside(name, self._suffixes)

        begun, max_bytes = (self.container, self.where, self._begins), self._reading.max_bytes
        note, point = self.restarts.note if self.restarts.possible else None, self._point
        if self.container.kind == PARQUET:
            passing = pass_through_table(*begun, max_bytes, note, point if isinstance(point, Place) else None)
        elif self.container.kind == ZIP:
            passing = pass_through_zip(*begun, wanted, max_bytes)
        else:
            passing = pass_through_tar(*begun, wanted, max_bytes, note, point if isinstance(point, Point) else None)
        with contextlib.closing(passing):
            events = self._events_of(passing)
            if self._columns:
                yield from self._with_columns(events, self._columns)
            else:
                yield from (event for event, _ in events)

    def _events_of(self, passing: Iterator[Passed]) -> Iterator[tuple[Event, bytes | Exception | None]]:
        """Members, each with what was read of it."""
        begun = time.perf_counter()
        for passed in passing:
            yield self._event(passed, (time.perf_counter() - begun) * 1000), passed.data
            begun = time.perf_counter()

    def _with_columns(
        self, events: Iterator[tuple[Event, bytes | Exception | None]], columns: SampleColumns
    ) -> Iterator[Event]:
        """Members in their order, images with the columns that stand beside them."""
        window: SampleWindow[tuple[Event, bytes | Exception | None]] = SampleWindow(self._suffixes)
        errors: list[Exception] = []

        def filled(passed: PassedMember[tuple[Event, bytes | Exception | None]]) -> Event:
            event = passed.value[0]
            beside = {suffix: data for suffix, (_, data) in passed.beside.items() if data is not None}
            if event.todo is None:
                return event
            todo = event.todo._replace(kept=columns.row(beside))
            file = event.file._replace(todo=todo) if isinstance(event.file, ReadFile) else event.file
            return event._replace(todo=todo, file=file)

        for event, data in until_error(events, errors):
            found = event.found
            size = found.what.size if isinstance(found.what, Member) else 0
            texts = data if is_beside(found.name, self._suffixes) else None
            yield from map(
                filled, window.add(found.name, size, (event, texts), event.todo is not None, data is not None)
            )
        yield from map(filled, window.end())
        if errors:
            raise errors[0]

    def _event(self, passed: Passed, msec: float) -> Event:
        item = self._listing.next(passed.found)
        if not isinstance(item, WorkItem):
            return Event(passed.found, passed.begins)
        if passed.data is None:
            return Event(passed.found, passed.begins, link=item)
        todo = PendingItem(item)
        if isinstance(passed.data, Exception):
            return Event(passed.found, passed.begins, todo, not_read(todo, passed.data, self.run.started))
        return Event(passed.found, passed.begins, todo, ReadFile(todo, passed.data, msec))
