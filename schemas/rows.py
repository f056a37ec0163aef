"""How rows become the bytes of a data file, and how their ids are read back."""

import dataclasses
import io
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.schemas import (
    audio_row,
    caption_row,
    failure_row,
    feature_example,
    manifest,
    sample_tar,
    speech_row,
)
from beamscribe.schemas.caption_json import rows_of
from beamscribe.schemas.caption_row import SourceFile
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.kept_columns import with_kept
from beamscribe.schemas.stored import read_stored
from beamscribe.schemas.table import to_table

OWN_FOLDERS = tuple(
    schema.FOLDER for schema in (manifest, audio_row, caption_row, failure_row, feature_example, sample_tar, speech_row)
)
"""Folders of an output: nothing that a job deletes is outside of these."""


class RowKey(NamedTuple):
    """What the ledger needs to know of a row.

    Attributes:
        id: of its image.
        fingerprint: digest of the settings that it was made with.
        made_of: where the format holds captions, see `FileStamp`.
        tarred: whether a tar is beside its file, see `beamscribe.schemas.sample_tar`.
    """

    id: str
    fingerprint: str
    made_of: str = ""
    tarred: bool = False


class RowFormat(Protocol):
    """A data folder of an output."""

    @property
    def folder(self) -> str:
        """Below the output."""
        ...

    @property
    def suffix(self) -> str:
        """How its files' names end."""
        ...

    @property
    def holds_captions(self) -> bool:
        """Whether rows hold the captions of what was asked, so that other captions ask for other rows."""
        ...

    def encode(self, rows: Iterable[Any]) -> bytes:
        """The rows as the bytes of one file, taken one by one."""
        ...

    def read_keys(self, data: bytes, name: str) -> list[RowKey]:
        """Ids and fingerprints in a file.

        Raises:
            ValueError: if the file is damaged or newer than this reader.
        """
        ...

    def only(self, data: bytes, name: str, ids: Collection[str]) -> bytes:
        """A file with the rows of some ids alone.

        Raises:
            ValueError: if the file is damaged or newer than this reader.
        """
        ...


@dataclass(frozen=True)
class ParquetRows:
    """Rows as Parquet files (zstd) of one schema.

    Attributes:
        folder: below the output.
        schema: with its version in the metadata.
        version: newest schema version that this reader knows.
    """

    folder: str
    schema: pa.Schema
    version: int
    suffix: str = ".parquet"
    holds_captions: bool = False

    @property
    def tarred(self) -> bool:
        """Whether a tar of samples is written beside each file of rows, as each such file says itself."""
        return _TARRED in (self.schema.metadata or {})

    def encode(self, rows: Iterable[Any]) -> bytes:
        """The rows as the bytes of one Parquet file."""
        buffer = io.BytesIO()
        pq.write_table(to_table(rows, self.schema), buffer, compression="zstd")
        return buffer.getvalue()

    def read(self, data: bytes, name: str, columns: list[str] | None = None, newer: Sequence[str] = ()) -> pa.Table:
        """The file as a table.

        Args:
            data: the file.
            name: of it, for people.
            columns: to be read; by default all.
            newer: further columns, which files of older versions lack: they come as nulls.

        Raises:
            ValueError: if the file is damaged, foreign or newer than this reader.
        """
        return read_stored(data, name, self.schema, self.version, columns, newer)

    def read_keys(self, data: bytes, name: str) -> list[RowKey]:
        """Ids and fingerprints in a file."""
        table = self.read(data, name, ["id", "fingerprint"])
        ids, fingerprints = table["id"].to_pylist(), table["fingerprint"].to_pylist()
        if None in fingerprints:
            raise ValueError(f"{name} has a row without a fingerprint")
        tarred = _TARRED in (table.schema.metadata or {})
        # Millions of ids may be held, but there are few fingerprints.
        return [
            RowKey(id, sys.intern(fingerprint), tarred=tarred)
            for id, fingerprint in zip(ids, fingerprints, strict=True)
        ]

    def only(self, data: bytes, name: str, ids: Collection[str]) -> bytes:
        """A file with the rows of some ids alone, in the columns that it has."""
        self.read(data, name, ["id"])
        table = pq.ParquetFile(io.BytesIO(data)).read()
        buffer = io.BytesIO()
        kept = table.filter(pa.array([id in ids for id in table["id"].to_pylist()], pa.bool_()))
        pq.write_table(kept, buffer, compression="zstd")
        return buffer.getvalue()

    def tar(self, data: bytes, files: list[SourceFile]) -> bytes:
        """The tar beside a file of captions.

        Args:
            data: the file of rows.
            files: the image of each row, in their order; they are taken out of the list one by one.
        """
        files.reverse()
        rows = rows_of(self.read(data, "the file of rows"))
        return sample_tar.encode(
            sample_tar.sample(sample_tar.key_of(row["id"]), *files.pop(), row)  # pyright: ignore[reportArgumentType]
            for row in rows
        )


_TARRED = b"beamscribe.webdataset"
"""In the metadata of a file of rows that has a tar beside it."""

CAPTIONS = ParquetRows(caption_row.FOLDER, caption_row.SCHEMA, caption_row.VERSION)
INDEX = ParquetRows(speech_row.FOLDER, speech_row.SCHEMA, speech_row.VERSION)
FAILURES = ParquetRows(failure_row.FOLDER, failure_row.SCHEMA, failure_row.VERSION)


def with_kept_columns(form: ParquetRows, kept: pa.Schema) -> ParquetRows:
    """Rows that have columns of their sources too, see `beamscribe.schemas.kept_columns`."""
    return dataclasses.replace(form, schema=with_kept(form.schema, kept)) if kept.names else form


def with_tars(form: ParquetRows) -> ParquetRows:
    """Rows of captions beside which their images are written, see `beamscribe.schemas.sample_tar`."""
    return dataclasses.replace(form, schema=form.schema.with_metadata({**form.schema.metadata, _TARRED: b"1"}))


def tarred_rows(form: RowFormat) -> ParquetRows | None:
    """A format, if a tar is written beside each of its files."""
    return form if isinstance(form, ParquetRows) and form.tarred else None


def encode_all(form: RowFormat, rows: Iterable[Any]) -> tuple[bytes, bytes]:
    """Rows as the bytes of a file, taken one by one, and the tar beside it; empty where there is none."""
    tarred = tarred_rows(form)
    if not tarred:
        return form.encode(rows), b""
    files: list[SourceFile] = []

    def without_files() -> Iterator[Any]:
        for row in rows:
            files.append(row.file)
            yield row._replace(file=None)

    data = tarred.encode(without_files())
    return data, tarred.tar(data, files) if files else b""


def read_failures(data: bytes, name: str) -> list[FailureRow]:
    """The failure rows of a file."""
    return [FailureRow(**row) for row in FAILURES.read(data, name).to_pylist()]
