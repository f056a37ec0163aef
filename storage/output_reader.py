"""An output as every later command reads it: its manifest, its committed files, and the receipts that count.

Data files are the truth. A receipt only spares reading one again: where it is lost or damaged, an answer takes longer
and is the same.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from beamscribe.errors import RefusedError
from beamscribe.schemas.counted import counted
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.manifest import FILE, FOLDER, Manifest, ManifestError
from beamscribe.schemas.matching import ids_of_output
from beamscribe.schemas.output_parts import PARTS, DonePart, Part, parts_from_json
from beamscribe.schemas.receipt import RECEIPTS, FileStamp, Receipt, stamp
from beamscribe.schemas.rows import FAILURES, ParquetRows, RowFormat, read_failures
from beamscribe.schemas.table import NewerSchemaError
from beamscribe.storage.storage import Entry, Storage

MANIFEST = f"{FOLDER}/{FILE}"
"""The manifest's file below an output."""

FormatT = TypeVar("FormatT", bound=RowFormat)


def read_parts(output: Storage) -> list[Part]:
    """The parts of an output; none if it is not in parts.

    Raises:
        RefusedError: if the file that says so cannot be read, or is newer than this Beamscribe.
    """
    try:
        return parts_from_json(output.read(PARTS), output.uri(PARTS))
    except FileNotFoundError:
        return []
    except (ValueError, OSError) as error:
        raise RefusedError(str(error)) from error


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
    """A digest of the names and sizes of all files of rows and of failure rows."""
    listed = json.dumps(sorted(data_sizes(output, form).items()))
    return hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()


def read_done_part(output: Storage, part: Part, form: RowFormat) -> DonePart | None:
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


def stem_of(name: str) -> str:
    """The name that the files of one commit share, of the path of one of them."""
    return name.rsplit("/", 1)[-1].split(".", 1)[0]


def data_sizes(output: Storage, form: RowFormat) -> dict[str, int]:
    """The size in bytes of every file of rows and of failure rows, by its name below the output."""
    folders = ((form.folder, form.suffix), (FAILURES.folder, FAILURES.suffix))
    return {entry.name: entry.size for folder, suffix in folders for entry in output.files(folder, suffix)}


def stored_receipts(output: Storage, form: RowFormat) -> list[Receipt]:
    """Every stored receipt whose files are as it says; a damaged receipt counts as lost."""
    found = []
    sizes = data_sizes(output, form)
    names = [entry.name for entry in output.files(RECEIPTS, ".json")]
    for name, data in zip(names, output.read_each(names), strict=True):
        try:
            receipt = Receipt.from_json(data)
        except ValueError:
            continue
        files = [file for file in (receipt.rows, receipt.failures) if file]
        if receipt.name == name and all(sizes.get(file.name) == file.size for file in files):
            found.append(receipt)
    return found


def receipt_from_files(output: Storage, form: RowFormat, stem: str, latest: str) -> Receipt:
    """The receipt of a commit, made again from its data files and not stored.

    Args:
        output: of a job.
        form: how its rows are stored.
        stem: of the commit, see `stem_of`.
        latest: digest of the settings of the latest run, which alone can have left failure rows without rows and
            without a receipt: failure rows do not say under which settings they failed.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is damaged.
    """
    rows = failures = None
    fingerprint = latest
    name = f"{form.folder}/{stem}{form.suffix}"
    if output.exists(name):
        rows, fingerprint = stamp_of_rows(output, form, name)
    name = f"{FAILURES.folder}/{stem}{FAILURES.suffix}"
    if output.exists(name):
        data = output.read(name)
        failures = stamp(name, data, (row.id for row in read_failures(data, output.uri(name))))
    return Receipt(stem, fingerprint, "", 0.0, rows, failures)


def stamp_of_rows(output: Storage, form: RowFormat, name: str) -> tuple[FileStamp, str]:
    """A file of rows, read as a whole, and the digest of the settings that it was made with.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged or holds no rows.
    """
    data = output.read(name)
    keys = form.read_keys(data, output.uri(name))
    if not keys:
        raise ValueError(f"{output.uri(name)} holds no rows, which Beamscribe never writes")
    made_of = (key.made_of for key in keys) if form.holds_captions else ()
    return stamp(name, data, (key.id for key in keys), made_of), keys[0].fingerprint


def read_receipts(output: Storage, form: RowFormat, latest: str) -> list[Receipt]:
    """A receipt of every commit, by stem: as it is stored, or else made again from its data files and not stored.

    Args:
        output: of a job, which may be running.
        form: how its rows are stored.
        latest: see `receipt_from_files`.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if a data file without a receipt is damaged.
    """
    receipts = {receipt.stem: receipt for receipt in stored_receipts(output, form)}
    known = {file.name for one in receipts.values() for file in (one.rows, one.failures) if file}
    for stem in sorted({stem_of(name) for name in data_sizes(output, form) if name not in known}):
        try:
            receipts[stem] = receipt_from_files(output, form, stem, latest)
        except FileNotFoundError:
            # A running job has removed what newer rows replace since the folder was listed.
            continue
    return [receipts[stem] for stem in sorted(receipts)]


def failures_of(output: Storage, receipts: Iterable[Receipt]) -> dict[str, list[FailureRow]]:
    """The failure rows of commits, by stem; of those that have some.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is damaged.
    """
    names = {receipt.stem: receipt.failures.name for receipt in receipts if receipt.failures}
    found = zip(names.items(), output.read_each(names.values()), strict=True)
    return {stem: read_failures(data, output.uri(name)) for (stem, name), data in found}


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
