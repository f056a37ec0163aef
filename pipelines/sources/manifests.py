"""Manifests: files that name images one by one, or tables that hold the images themselves."""

import contextlib
import glob
import io
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.corpus import BEYOND_LIMIT, Corpus, Skipped, distinct
from beamscribe.pipelines.sources.found_files import Found, find_files
from beamscribe.pipelines.sources.kept_rows import KeptRows
from beamscribe.pipelines.sources.manifest_parts import TableColumns, columns_of, first_rows
from beamscribe.pipelines.sources.table_items import Listing, named_items, table_items
from beamscribe.pipelines.sources.table_process import TableProcess
from beamscribe.pipelines.sources.table_processes import TableProcesses
from beamscribe.pipelines.sources.tables import is_table
from beamscribe.pipelines.sources.text_lines import Named
from beamscribe.pipelines.sources.text_tables import CSV_SUFFIX, TSV_SUFFIXES, read_rows
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.output_parts import Piece
from beamscribe.storage.location import locate, without_query
from beamscribe.storage.prefetch import prefetch_from_each
from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import absolute, read_uri

PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".br", ".7z", ".rar")
ARCHIVES = (".zip", ".tar", ".tgz")
"""Suffixes of what is no manifest as it is."""

TABLES_AT_ONCE = 4
"""Remote tables that are listed side by side, each by a process of 100 MB, of more where pages are large."""


def read_manifests(
    sources: Iterable[str],
    columns: Columns,
    options: dict[str, Any],
    limit: int | None = None,
    keeps: Sequence[Keep] = (),
) -> Corpus:
    """Reads manifests; a suffix says what each is: CSV, JSON, Parquet, Arrow, else text with one URI a line.

    Relative paths start at the manifest's folder. Tables may hold the images themselves, as binary values or as
    `struct<bytes, path>`; such a row's URI is `manifest::row`. A row that cannot be used is an item that fails. Nothing
    that a manifest names is asked for. Of Parquet manifests that are too large to be listed at once a limit is of rows,
    and the other rows are not read.

    Raises:
        RefusedError: if one cannot be read, if all of them name no image, or if none has a column that is to be kept.
    """
    sources = list(sources)
    if limit is not None and (large := _first_of_large(sources, columns, options, limit, keeps)):
        return large

    def found(listing: Listing) -> Generator[WorkItem | Skipped, None, None]:
        for source in sources:
            files = _expanded(source, options)
            yield from _read_all(files.files, listing._replace(versions=files.versions))
            yield from files.skipped

    corpus = _corpus(found, columns, options, keeps, f"--manifest {' '.join(sources[:5])}", limit)
    if not corpus.references:
        are = "is empty" if len(sources) == 1 else "are all empty"
        raise RefusedError(
            f"--manifest {' '.join(sources[:5])} {are}: write one URI a line, or give tables that have rows"
        )
    return corpus


def _first_of_large(
    sources: Sequence[str], columns: Columns, options: dict[str, Any], limit: int, keeps: Sequence[Keep]
) -> Corpus | None:
    """The first rows of manifests that are too large to be listed at once; the others are counted and not read."""
    found = manifest_files(sources, options)
    files, skipped = found.files, found.skipped
    first = first_rows(files, options, limit)
    if first is None:
        return None
    tables = columns_of(files, columns, options, [keep.source for keep in keeps]) if keeps else ()
    corpus = read_pieces(first.pieces, columns, options, keeps, tables, limit)
    # Rows of a piece that are fewer than the limit are all that could be listed of a damaged one.
    taken = corpus.listed if corpus.listed == limit else sum(piece.rows for piece in first.pieces)
    beyond = {BEYOND_LIMIT: first.rows - taken} if first.rows > taken else {}
    listed = corpus.listed + sum(beyond.values()) + sum(skipped.values())
    return corpus._replace(skipped={**skipped, **beyond}, listed=listed)


def read_pieces(
    pieces: Sequence[Piece],
    columns: Columns,
    options: dict[str, Any],
    keeps: Sequence[Keep] = (),
    tables: Sequence[TableColumns] = (),
    most: int | None = None,
) -> Corpus:
    """Reads some row groups of Parquet manifests, as `read_manifests`; rows that cannot be read are items that fail.

    Args:
        pieces: of the manifests.
        columns: as `--uri-column` and `--id-column` say.
        options: passed to fsspec.
        keeps: columns that are kept.
        tables: columns of all manifests, which say of which types those are that are kept.
        most: items that are listed; all by default.

    Raises:
        RefusedError: if one cannot be read, or if none has a column that is to be kept.
    """

    def rows(listing: Listing) -> Iterator[WorkItem]:
        if listing.kept:
            for table in tables:
                listing.kept.see_names(table.names)
                listing.kept.add_table(table.uri, table.kept, ())
        for piece in pieces:
            with refused(piece.uri):
                yield from table_items(piece.uri, without_query(piece.uri).lower(), listing, piece)

    def found(listing: Listing) -> Generator[WorkItem, None, None]:
        yield from itertools.islice(rows(listing), most)

    files = list(dict.fromkeys(piece.uri for piece in pieces))
    return _corpus(found, columns, options, keeps, f"--manifest {files[0]}")


def _corpus(
    found: Callable[[Listing], Generator[WorkItem | Skipped, None, None]],
    columns: Columns,
    options: dict[str, Any],
    keeps: Sequence[Keep],
    named: str,
    limit: int | None = None,
) -> Corpus:
    kept = KeptRows(keeps) if keeps else None
    with TableProcess() as process:
        listing = Listing(columns._replace(keep=kept.sources if kept else ()), options, process, kept)
        # Threads that read ahead end with it, whoever keeps the error that ends this.
        with contextlib.closing(found(listing)) as items:
            corpus = distinct(items, limit, named)
    if kept and corpus.references:
        kept.end(named)
    return corpus._replace(kept=kept)


class ManifestFiles(NamedTuple):
    """The manifests that sources name.

    Attributes:
        files: bytes of each by URI, where a listing tells them.
        skipped: what sources name beside them, by reason.
        versions: of those files of which a listing tells it, by URI, see `beamscribe.pipelines.sources.versions`.
        repeated: whether sources name a file twice.
    """

    files: dict[str, int | None]
    skipped: Mapping[str, int]
    versions: Mapping[str, str] = {}
    repeated: bool = False


def manifest_files(sources: Iterable[str], options: dict[str, Any]) -> ManifestFiles:
    """The manifests that sources name.

    Raises:
        RefusedError: if a source names none.
    """
    found = [_expanded(source, options) for source in sources]
    skipped: Counter[str] = Counter()
    for one in found:
        for reason, count in one.skipped:
            skipped[reason] += count
    files = {uri: one.versions[uri][0] if uri in one.versions else None for one in found for uri in one.files}
    versions = {uri: version for one in found for uri, (_, version) in one.versions.items()}
    return ManifestFiles(files, dict(skipped), versions, len(files) < sum(len(one.files) for one in found))


def _expanded(source: str, options: dict[str, Any]) -> Found:
    """The manifests that a source names, and what it names beside them, such as links to nothing."""
    try:
        if not glob.has_magic(source):
            return Found([absolute(source, options)])
        found = find_files(source, "--manifest", options)
    except StorageError as error:
        raise RefusedError(f"--manifest {source} cannot be read: {error}") from error
    if not found.files:
        raise RefusedError(f"--manifest {source} names no file: check the pattern")
    return found


@contextlib.contextmanager
def refused(uri: str) -> Iterator[None]:
    """What cannot be read of a manifest is told of it.

    Raises:
        RefusedError: if something cannot.
    """
    try:
        yield
    except StorageError as error:
        raise RefusedError(f"--manifest {uri}: {error}") from error
    except (OSError, ValueError) as error:
        raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error


def _read_all(uris: Iterable[str], listing: Listing) -> Iterator[WorkItem]:
    """What manifests name, in their order; remote tables, which wait for storage, are read side by side."""
    with contextlib.closing(TableProcesses(TABLES_AT_ONCE)) as processes:

        def read_apart(uri: str) -> Generator[WorkItem, None, None]:
            with processes.borrowed() as process:
                yield from _read(uri, listing._replace(process=process))

        for apart, some in itertools.groupby(uris, _waits):
            if apart:
                yield from prefetch_from_each(read_apart, some, TABLES_AT_ONCE)
            else:
                for uri in some:
                    yield from _read(uri, listing)


def _waits(uri: str) -> bool:
    """Whether a manifest is a remote table."""
    return not locate(uri).local and is_table(without_query(uri))


def _read(uri: str, listing: Listing) -> Iterator[WorkItem]:
    """What one manifest names."""
    name = without_query(uri).lower()
    if name.endswith(PACKED + ARCHIVES):
        remedy = "--images takes archives of images" if name.endswith(ARCHIVES) else "unpack it"
        raise RefusedError(f"--manifest {uri} is compressed: {remedy}")
    with refused(uri):
        if is_table(name):
            yield from table_items(uri, name, listing)
        else:
            columns, options, _, kept, _ = listing
            with _opened(uri, options) as file:
                rows = read_rows(file, name, columns, kept.see_names) if kept else read_rows(file, name, columns)
                add = _adder(uri, name, kept) if kept else None
                yield from named_items(uri, rows, add=add)


def _opened(uri: str, options: dict[str, Any]) -> IO[bytes]:
    """A file to read from its beginning: a local one piece by piece, any other as a whole."""
    path = locate(uri)
    return open(path.path, "rb") if path.local else io.BytesIO(read_uri(uri, options))


def _adder(manifest: str, name: str, kept: KeptRows) -> Callable[[Named], int]:
    """Takes the kept columns of a row of text."""
    if name.endswith((CSV_SUFFIX, *TSV_SUFFIXES)):
        return lambda row: kept.add_text(manifest, row.kept)
    return lambda row: kept.add_json(row.kept)
