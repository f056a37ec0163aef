"""Manifests: files that name images one by one, or tables that hold the images themselves."""

import csv
import glob
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from model.transient import StorageError
from model.uri import absolute, canonical, filesystem, open_uri, read_uri
from pipelines.corpora.corpus import Corpus, Skipped, distinct
from pipelines.corpora.listing import Found, find_files
from pipelines.corpora.reference import ARROW, PARQUET, UNREADABLE, Member, Reference
from pipelines.corpora.tables import read_arrow
from schemas.command import RefusedError

URI_COLUMNS = ("uri", "image_uri", "url", "image_url", "path", "image_path", "file_name", "image")
"""Looked for in this order where `--uri-column` does not say which one it is."""
ID_COLUMN = "id"

LINES_SUFFIXES = (".jsonl", ".ndjson")
ARROW_SUFFIXES = (".arrow", ".feather")


class Columns(NamedTuple):
    """What `--uri-column` and `--id-column` say; None where they are not given."""

    uri: str | None = None
    id: str | None = None


class Named(NamedTuple):
    """A row that names an image; an empty id is the URI."""

    uri: str
    id: str = ""


def read_manifests(
    sources: Iterable[str], columns: Columns, options: dict[str, Any], limit: int | None = None
) -> Corpus:
    """Reads manifests; a suffix says what each is: CSV, JSON lines, Parquet, Arrow, else text with one URI a line.

    Relative paths start at the manifest's folder. Tables may hold the images themselves, as binary values or as
    `struct<bytes, path>`; such a row's URI is `manifest::row`.

    Raises:
        RefusedError: if one cannot be read or names no image.
    """
    return distinct(itertools.chain.from_iterable(_named_in(source, columns, options) for source in sources), limit)


def _named_in(source: str, columns: Columns, options: dict[str, Any]) -> Iterator[Reference | Skipped]:
    uris, skipped = _expanded(source, options)
    yield from skipped
    for uri in uris:
        yield from _some(uri, columns, options)


def _some(uri: str, columns: Columns, options: dict[str, Any]) -> Iterator[Reference | Skipped]:
    """What a manifest names, which is not nothing."""
    empty = True
    for one in _read(uri, columns, options):
        empty = False
        yield one
    if empty:
        raise RefusedError(f"--manifest {uri} is empty: write one URI a line")


def _expanded(source: str, options: dict[str, Any]) -> Found:
    try:
        return (
            find_files(source, "--manifest", options) if glob.has_magic(source) else Found([absolute(source, options)])
        )
    except StorageError as error:
        raise RefusedError(f"--manifest {source} cannot be read: {error}") from error


def _read(uri: str, columns: Columns, options: dict[str, Any]) -> Iterator[Reference | Skipped]:
    name = uri.lower()
    try:
        if name.endswith(".parquet"):
            yield from _parquet(uri, columns, options)
        elif name.endswith(ARROW_SUFFIXES):
            yield from _arrow(uri, columns, options)
        else:
            text = read_uri(uri, options).decode("utf-8-sig")
            yield from _named(uri, _rows(name, text, columns), options)
    except UnicodeDecodeError as error:
        raise RefusedError(f"--manifest {uri} is not UTF-8 text: write one URI a line") from error
    except StorageError as error:
        raise RefusedError(f"--manifest {uri}: {error}") from error
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error


def _rows(name: str, text: str, columns: Columns) -> Iterator[Named]:
    """What a text, CSV or JSON lines file names; rows of text without a URI are blank lines."""
    if name.endswith(".csv"):
        yield from _named_by(csv.DictReader(io.StringIO(text)), columns)
    elif name.endswith(LINES_SUFFIXES):
        # Other line ends than these may stand in a JSON text.
        yield from _named_by((json.loads(line) for line in _lines(text)), columns)
    else:
        yield from (Named(line.strip()) for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    """Lines that are not blank, one at a time: a list of all would need more memory than the text."""
    return (line for line in map(re.Match.group, re.finditer(r"[^\n]+", text)) if line.strip())


def _named_by(rows: Iterable[dict[str, Any]], columns: Columns) -> Iterator[Named]:
    found: tuple[str, str | None] | None = None
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"a line is no JSON object: {str(row)[:40]}")
        found = found or _choose(list(row), columns)
        uri_column, id_column = found
        uri, id = row.get(uri_column), row.get(id_column) if id_column else None
        yield Named(_storable(uri), _storable(id))


def _storable(value: Any) -> str:
    """As UTF-8 can hold it, which half a surrogate pair of JSON cannot be."""
    return "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()


def _choose(names: list[str], columns: Columns) -> tuple[str, str | None]:
    """The columns of URIs, or of images, and of ids.

    Raises:
        ValueError: if a column that was asked for is not there, or none is known to hold URIs.
    """
    for asked in columns:
        if asked is not None and asked not in names:
            raise ValueError(f"it has no column {asked}, only {', '.join(names)}")
    uri = columns.uri or next((name for name in URI_COLUMNS if name in names), None)
    if uri is None:
        raise ValueError(f"which of its columns holds URIs? --uri-column names one of {', '.join(names)}")
    return uri, columns.id or (ID_COLUMN if ID_COLUMN in names else None)


def _named(manifest: str, rows: Iterable[Named], options: dict[str, Any]) -> Iterator[Reference]:
    fs, path = filesystem(manifest, options)
    canonical_of = _Canonical(canonical(fs, path).rsplit("/", 1)[0], options)
    for number, row in enumerate(rows):
        if row.uri:
            uri = canonical_of(row.uri)
            yield Reference(row.id or uri, uri)
        else:
            id = row.id or f"{manifest}::{number}"
            yield Reference(id, manifest, member=Member(UNREADABLE, number, detail=f"row {number} has no URI"))


class _Canonical:
    """Canonical URIs of what a manifest names; asks fsspec for a filesystem once, which is most of the work.

    Args:
        folder: where relative paths start.
        options: passed to fsspec.
    """

    def __init__(self, folder: str, options: dict[str, Any]) -> None:
        self._folder, self._options = folder, options
        self._systems: dict[str, AbstractFileSystem] = {}

    def __call__(self, name: str) -> str:
        uri = name if "://" in name or name.startswith(("/", "~")) else f"{self._folder}/{name}"
        protocol = uri.partition("://")[0] if "://" in uri else "file"
        if protocol not in self._systems or "::" in uri:
            self._systems[protocol], path = filesystem(uri, self._options)
        else:
            path = self._systems[protocol]._strip_protocol(uri)
        return canonical(self._systems[protocol], path)


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column's values are images: binary, or the struct of bytes and path of Hugging Face `datasets`."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and holds_images(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _choose_typed(schema: pa.Schema, columns: Columns) -> tuple[str, str | None]:
    """As `_choose`; a column that holds images is preferred to one that names them."""
    images = [field.name for field in schema if holds_images(field.type)]
    return _choose(schema.names, columns._replace(uri=columns.uri or (images[0] if images else None)))


def _parquet(uri: str, columns: Columns, options: dict[str, Any]) -> Iterator[Reference]:
    with open_uri(uri, options) as opened:
        file = pq.ParquetFile(opened)
        column, id_column = _choose_typed(file.schema_arrow, columns)
        inside = holds_images(file.schema_arrow.field(column).type)
        wanted = [] if inside else [column]
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            table = file.read_row_group(group, columns=[*wanted, *([id_column] if id_column else [])])
            ids = _texts(table, id_column, rows)
            if inside:
                places = (Member(PARQUET, first + row, group, row, column) for row in range(rows))
                yield from _held(uri, ids, places)
            else:
                yield from _named(uri, map(Named, _texts(table, column, rows), ids), options)
            first += rows


def _arrow(uri: str, columns: Columns, options: dict[str, Any]) -> Iterator[Reference]:
    with open_uri(uri, options) as file:
        table = read_arrow(file)
    column, id_column = _choose_typed(table.schema, columns)
    ids = _texts(table, id_column, table.num_rows)
    if holds_images(table.schema.field(column).type):
        yield from _held(uri, ids, (Member(ARROW, row, row, detail=column) for row in range(table.num_rows)))
    else:
        yield from _named(uri, map(Named, _texts(table, column, table.num_rows), ids), options)


def _texts(table: pa.Table, column: str | None, rows: int) -> list[str]:
    """A column's values as text, empty where there is none."""
    if column is None:
        return [""] * rows
    return ["" if value is None else str(value) for value in table.column(column).to_pylist()]


def _held(uri: str, ids: Iterable[str], members: Iterable[Member]) -> Iterator[Reference]:
    for id, member in zip(ids, members, strict=True):
        item = f"{uri}::{member.place}"
        yield Reference(id or item, item, container=uri, member=member)
