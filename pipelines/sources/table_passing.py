"""A Parquet table gone through from one of its rows on: rows as a listing finds them, images with their bytes."""

import collections
import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.columns import TEXT, Column
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.opened import UnreadableMemberError, Where
from beamscribe.pipelines.sources.parquet_values import Place
from beamscribe.pipelines.sources.table_listing import AskedRows, insides_of
from beamscribe.pipelines.sources.table_process import TableDiedError, TableError
from beamscribe.pipelines.sources.table_processes import PROCESSES
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.sources.tar_passing import Passed
from beamscribe.pipelines.sources.versions import check_version
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import UNREADABLE, Member
from beamscribe.storage.uri import only_os_errors


def pass_through_table(
    container: Container,
    where: Where,
    begins: int,
    max_bytes: int,
    note: Callable[[Place], None] | None = None,
    place: Place | None = None,
) -> Generator[Passed, None, None]:
    """The rows of a table from one on.

    A row that ends the process which reads it is a failure of its own, if it is known which row it was.

    Args:
        container: which one.
        where: it is.
        begins: number of the row.
        max_bytes: that an image may have.
        note: is told where images are from which on the table can be read.
        place: of the first row or of one before it, that `note` was told.

    Raises:
        ReplacedError: if it is no longer the table that was asked for.
        DamagedArchiveError: if it is none, lacks the column, or has ended processes too often; after the rows before.
        OSError: if the storage cannot read it.
    """
    # Storage is asked for the version and for the metadata at once.
    pool = ThreadPoolExecutor(1, thread_name_prefix="version")
    with only_os_errors():
        checked = pool.submit(check_version, where, container.version, fresh=True)
    pool.shutdown(wait=False)
    columns = AskedRows.of_inside(container.inside).columns
    at, failed = begins, False
    # The last one, from which reading goes on where a row has ended the process.
    places = collections.deque([place], maxlen=1)

    def noted(found: Place) -> None:
        places.append(found)
        if note:
            note(found)

    with PROCESSES.borrowed() as process:
        while True:
            waiting: collections.deque[tuple[int, Inside]] = collections.deque()
            rows = process.passed(where, container.size, columns, at, max_bytes, places[-1])
            try:
                with contextlib.closing(rows):
                    for passed in _passed(rows, at, waiting, noted):
                        checked.result()
                        if isinstance(passed.data, Exception):
                            # What is wrong with it may be that it is another file; many are not asked for one by one.
                            check_version(where, container.version, fresh=not failed)
                        failed = isinstance(passed.data, Exception)
                        yield passed
                        at = passed.begins + 1
            except TableError as error:
                check_version(where, container.version, fresh=True)
                if not isinstance(error, TableDiedError) or not waiting:
                    raise DamagedArchiveError(str(error)) from error
                at, found = waiting[0]
                yield Passed(found, at, UnreadableMemberError(str(error)))
                at += 1
            else:
                break
    checked.result()


def _passed(
    rows: Iterator[Column | Part | Place | bytes | UnreadableMemberError],
    begins: int,
    waiting: collections.deque[tuple[int, Inside]],
    note: Callable[[Place], None],
) -> Iterator[Passed]:
    """Rows in their order.

    Args:
        rows: parts of the table, each followed by its images.
        begins: number of the first row.
        waiting: gets rows, with their numbers, until their image has come.
        note: is told where images are.
    """
    column, listed = Column((), TEXT), begins
    for one in rows:
        if isinstance(one, Column):
            column = one
        elif isinstance(one, Part):
            waiting.extend(enumerate(insides_of(column, one, listed), listed))
            listed += one.rows
        elif isinstance(one, Place):
            note(one)
        else:
            number, found = waiting.popleft()
            yield Passed(found, number, one)
        while waiting and not _holds_image(waiting[0][1]):
            number, found = waiting.popleft()
            what = found.what
            yield Passed(found, number, UnreadableMemberError(what.detail) if isinstance(what, Member) else None)


def _holds_image(found: Inside) -> bool:
    return isinstance(found.what, Member) and found.what.kind != UNREADABLE
