"""An output as every later command reads it: its manifest, its committed files, and the receipts that count.

Data files are the truth. A receipt only spares reading one again: where it is lost or damaged, an answer takes longer
and is the same.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from beamscribe.errors import RefusedError
from beamscribe.schemas.counted import counted
from beamscribe.schemas.manifest import FILE, FOLDER, Manifest, ManifestError
from beamscribe.schemas.matching import ids_of_output
from beamscribe.schemas.output_parts import PARTS, DonePart, OutputPart, parts_from_json
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import ParquetRows, RowFormat
from beamscribe.schemas.table import NewerSchemaError
from beamscribe.storage.committed import data_sizes, read_receipts
from beamscribe.storage.sample_tars import sample_tars
from beamscribe.storage.storage import Entry, Storage

MANIFEST = f"{FOLDER}/{FILE}"
"""The manifest's file below an output."""

FormatT = TypeVar("FormatT", bound=RowFormat)


def read_parts(output: Storage) -> list[OutputPart]:
    """The parts of an output; none if it is not in parts.

    Raises:
        RefusedError: if the file that says so cannot be read, or is newer than this Beamscribe.
    """
    try:
        return parts_from_json(output.read(PARTS), output.uri(PARTS))
    except FileNotFoundError:
        return []
    except (NewerSchemaError, OSError) as error:
        raise RefusedError(str(error)) from error
    except ValueError as error:
        raise RefusedError(f"{error}: delete that file, and the next run of the job makes it again") from error


def read_manifest_of(output: Storage) -> Manifest | None:
    """The manifest of an output; None if there is none yet.

    Raises:
        RefusedError: if it is damaged or newer than this Beamscribe, or if the output is in parts, which have manifests
            of their own.
    """
    try:
        return Manifest.from_json(output.read(MANIFEST), output.uri(MANIFEST))
    except FileNotFoundError:
        if parts := read_parts(output):
            raise RefusedError(
                f"{output.uri()} is in {counted(len(parts), 'part')}, each an output of its own: name one of them, "
                f"such as {output.uri(parts[0].name)}"
            ) from None
        return None
    except (ManifestError, NewerSchemaError, OSError) as error:
        raise RefusedError(str(error)) from error


def digest_of_files(output: Storage, form: RowFormat) -> str:
    """A digest of the names and sizes of all files of rows, of failure rows, and beside rows."""
    tars = {entry.name: entry.size for entry in sample_tars(output, form)}
    listed = json.dumps(sorted((data_sizes(output, form) | tars).items()))
    return hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()


def read_done_part(output: Storage, part: OutputPart, form: RowFormat) -> DonePart | None:
    """The record of a part of which nothing was left to do, if its files are those of then.

    Args:
        output: that the part is in.
        part: which one.
        form: how its rows are stored.

    Raises:
        OSError: if storage does not answer.
    """
    try:
        found = DonePart.from_json(output.read(part.record))
    except (FileNotFoundError, ValueError):
        return None
    return found if found.files == digest_of_files(output.below(part.name), form) else None


def manifest_of(output: Storage) -> Manifest:
    """The manifest of an output that must have one.

    Raises:
        RefusedError: if it has none, or it is damaged or newer than this Beamscribe.
    """
    found = read_manifest_of(output)
    if found is None:
        raise RefusedError(f"{output.uri()} is not an output of Beamscribe: it has no {MANIFEST}")
    return found


@dataclass(frozen=True)
class OutputReader(Generic[FormatT]):
    """An output that a job of Beamscribe has written, or is writing.

    Attributes:
        output: its folder.
        manifest: what it is and under which settings rows count.
        format: how its rows are stored.
    """

    output: Storage
    manifest: Manifest
    format: FormatT

    @property
    def ids(self) -> str:
        """Where the ids of the rows came from, see `beamscribe.schemas.matching`."""
        return ids_of_output(self.manifest.details, self.output.read)

    def counts(self, fingerprint: str) -> bool:
        """Whether rows made under these settings count; others wait for rows that replace them."""
        return fingerprint in self.manifest.kept_fingerprints

    def receipts(self) -> list[Receipt]:
        """The receipts of the commits that count, see `read_receipts`.

        Raises:
            OSError: if a file cannot be read.
            ValueError: if a data file without a receipt is damaged.
        """
        found = read_receipts(self.output, self.format, self.manifest.fingerprint.digest)
        return [receipt for receipt in found if self.counts(receipt.fingerprint)]

    def files(self) -> list[Entry]:
        """The committed files of rows by name, of which rows may count or not.

        Raises:
            OSError: if the folder cannot be listed.
        """
        return self.output.files(self.format.folder, self.format.suffix)

    def table(
        self: "OutputReader[ParquetRows]", name: str, columns: Sequence[str] | None = None, newer: Sequence[str] = ()
    ) -> pa.Table:
        """The rows of a file that count.

        Args:
            name: of the file below the output.
            columns: to be read; by default all.
            newer: further columns, which files of older versions lack: they come as nulls.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is damaged, foreign or newer than this Beamscribe.
        """
        return self._counting(self.output.read(name), name, columns, newer)

    def tables(
        self: "OutputReader[ParquetRows]", columns: Sequence[str] | None = None, newer: Sequence[str] = ()
    ) -> Iterator[pa.Table]:
        """As `table`, of every file by name, some of them read ahead."""
        names = [file.name for file in self.files()]
        for name, data in zip(names, self.output.read_each(names), strict=True):
            yield self._counting(data, name, columns, newer)

    def _counting(
        self: "OutputReader[ParquetRows]", data: bytes, name: str, columns: Sequence[str] | None, newer: Sequence[str]
    ) -> pa.Table:
        wanted = None if columns is None else [*columns, *({_FINGERPRINT} - {*columns})]
        table = self.format.read(data, self.output.uri(name), wanted, newer)
        kept = pa.array(self.manifest.kept_fingerprints, pa.string())
        table = table.filter(pc.is_in(table[_FINGERPRINT], value_set=kept))  # pyright: ignore[reportAttributeAccessIssue]
        return table if columns is None else table.select([*columns, *newer])


_FINGERPRINT = "fingerprint"
"""The column of every format of rows that tells under which settings a row was made."""


def open_output(output: Storage, form: FormatT) -> OutputReader[FormatT]:
    """Opens an output for reading.

    Args:
        output: its folder.
        form: how its rows are stored; callers that read one job's outputs alone refuse others by `manifest.job`.

    Raises:
        RefusedError: if it has no manifest, or that is damaged or newer than this Beamscribe.
    """
    return OutputReader(output, manifest_of(output), form)
