"""Which manifests are containers: remote Parquet files that hold images, each of which a worker goes through."""

from typing import Any

from beamscribe.pipelines.sources.columns import ID_COLUMN, TEXT, Column, Columns
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.manifest_parts import MOST_LISTED, NO_GROUPS
from beamscribe.pipelines.sources.manifests import ManifestFiles, refused
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_listing import AskedRows
from beamscribe.pipelines.sources.table_process import TableProcess
from beamscribe.pipelines.sources.tables import PARQUET_SUFFIXES
from beamscribe.pipelines.sources.versions import size_and_version
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import PARQUET
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.storage.location import locate, without_query
from beamscribe.storage.prefetch import prefetch

ASKED_AT_ONCE = 16
"""Tables whose size and version are asked for side by side, where no listing has told them."""


def table_containers(
    found: ManifestFiles, columns: Columns, options: dict[str, Any], allow_http: bool = False
) -> Corpus | None:
    """The tables as a corpus of containers; None where they are listed: the first of them alone is opened to tell.

    Tables that have more rows than are listed at once, if all are as the first one, are done in parts: a launcher holds
    all rows that workers have found. Tables with ids are listed: two of them may have the same one.

    Args:
        found: the manifests.
        columns: as `--uri-column` and `--id-column` say.
        options: passed to fsspec.
        allow_http: whether a row may name an image on the web.

    Raises:
        RefusedError: if the first one, or the size of any, cannot be read.
    """
    uris = list(found.files)
    if not uris or found.repeated or not all(map(_is_remote_table, uris)):
        return None
    rows = _rows_with_images(uris[0], columns, options)
    if rows is None:
        return None
    inside = AskedRows(columns.uri, allow_http).to_inside()

    def container(uri: str) -> Container:
        size, version = found.files[uri], found.versions.get(uri)
        if size is None or version is None:
            with refused(uri):
                size, version = size_and_version(Where.of(uri, options, allow_private=False))
        return Container(uri, PARQUET, size, version, inside)

    containers = tuple(prefetch(container, uris, ASKED_AT_ONCE, 2 * ASKED_AT_ONCE))
    if rows * sum(one.size for one in containers) > MOST_LISTED * max(1, containers[0].size):
        return None
    return Corpus(WorkItems.of(()), 0, found.skipped, sum(found.skipped.values()), containers)


def _is_remote_table(uri: str) -> bool:
    """Whether a worker can go through it: of local ones the launcher reads the metadata without delay."""
    place = locate(uri)
    return not place.local and not place.web and without_query(uri).lower().endswith(PARQUET_SUFFIXES)


def _rows_with_images(uri: str, columns: Columns, options: dict[str, Any]) -> int | None:
    """The number of rows of a table, if they hold images and have no ids, as its columns tell; None if not."""
    where = Where.of(uri, options, allow_private=False)
    with TableProcess() as process, refused(uri):
        told = list(process.rows(where, columns, MAX_BYTES, NO_GROUPS))
        names, _, rows = process.kept(where, (), NO_GROUPS)
        list(rows)  # They have to be taken.
        has_ids = ID_COLUMN in names if columns.id is None else bool(columns.id)
        hold = any(isinstance(one, Column) and one.kind != TEXT for one in told)
        return sum(process.groups(where)) if hold and not has_ids else None
