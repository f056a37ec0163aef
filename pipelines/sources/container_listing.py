"""What a container holds, whatever it is: the images of an archive, or the rows of a table."""

from collections.abc import Iterator
from typing import Any

from beamscribe.pipelines.sources.archive_listing import ArchiveListing
from beamscribe.pipelines.sources.archives import list_archive
from beamscribe.pipelines.sources.beside import suffixes_of
from beamscribe.pipelines.sources.columns import TEXT, Column
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_listing import AskedRows, TableListing, insides_of
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.versions import version_of
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import PARQUET, WorkItem
from beamscribe.schemas.limits import MAX_BYTES

Listing = ArchiveListing | TableListing


def listing_of(container: Container) -> Listing:
    """A listing in which nothing has been found yet."""
    kind = TableListing if container.kind == PARQUET else ArchiveListing
    return kind(container.uri, container.inside, container.version)


def list_container(container: Container, options: dict[str, Any]) -> Iterator[WorkItem | Skipped]:
    """The images of a container as it is now, in its order but links last, and what is left out.

    Args:
        container: which one.
        options: passed to fsspec.

    Yields:
        As `beamscribe.pipelines.sources.archives.list_archive`, of a table too.

    Raises:
        OSError: if the storage cannot read it.
    """
    if container.kind != PARQUET:
        beside = suffixes_of(container.beside)
        yield from list_archive(container.uri, container.kind, container.inside, options, beside=beside)
        return
    where = Where.of(container.uri, options, allow_private=False)
    listing = TableListing(container.uri, container.inside, version_of(where))
    column, listed, damage = Column((), TEXT), 0, ""
    with TableProcess() as process:
        try:
            for part in process.rows(where, AskedRows.of_inside(container.inside).columns, MAX_BYTES):
                if isinstance(part, Column):
                    column = part
                    continue
                found = map(listing.next, insides_of(column, part, listed))
                yield from (item for item in found if item is not None)
                listed += part.rows
        except TableError as error:
            damage = str(error)
    yield from listing.links()
    if damage:
        yield listing.damage(damage)
