"""The commits of an output, told from its receipts, and from its data files where a receipt is lost."""

from collections.abc import Iterable
from typing import NamedTuple

from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.receipt import RECEIPTS, FileStamp, Receipt, stamp
from beamscribe.schemas.rows import FAILURES, RowFormat, read_failures
from beamscribe.storage.sample_tars import sample_tars, stamp_of_tar
from beamscribe.storage.storage import Storage


def stem_of(name: str) -> str:
    """The name that the files of one commit share, of the path of one of them."""
    return name.rsplit("/", 1)[-1].split(".", 1)[0]


def data_sizes(output: Storage, form: RowFormat) -> dict[str, int]:
    """The size in bytes of every file of rows and of failure rows, by its name below the output."""
    folders = ((form.folder, form.suffix), (FAILURES.folder, FAILURES.suffix))
    return {entry.name: entry.size for folder, suffix in folders for entry in output.files(folder, suffix)}


def stored_receipts(output: Storage, form: RowFormat, tars: bool = False) -> list[Receipt]:
    """Every stored receipt whose files are as it says; a damaged receipt counts as lost.

    Args:
        output: of a job.
        form: how its rows are stored.
        tars: whether the tars beside rows are looked at too; who reads rows does without them.
    """
    found = []
    sizes = data_sizes(output, form)
    names = [entry.name for entry in output.files(RECEIPTS, ".json")]
    for name, data in zip(names, output.read_each(names), strict=True):
        try:
            receipt = Receipt.from_json(data)
        except ValueError:
            continue
        if receipt.name == name:
            found.append(receipt)
    if tars and any(receipt.tar for receipt in found):
        sizes |= {entry.name: entry.size for entry in sample_tars(output, form)}

    def as_written(file: FileStamp | None) -> bool:
        return file is None or sizes.get(file.name) == file.size

    return [
        receipt
        for receipt in found
        if as_written(receipt.rows) and as_written(receipt.failures) and (not tars or as_written(receipt.tar))
    ]


def receipt_from_files(output: Storage, form: RowFormat, stem: str, latest: str, tars: bool = False) -> Receipt:
    """The receipt of a commit, made again from its data files and not stored.

    Args:
        output: of a job.
        form: how its rows are stored.
        stem: of the commit, see `stem_of`.
        latest: digest of the settings of the latest run, which alone can have left failure rows without rows and
            without a receipt: failure rows do not say under which settings they failed.
        tars: whether the tar beside the rows is read too, as for a receipt that is to be stored.

    Raises:
        OSError: if a file cannot be read.
        LostTarError: if the rows are whole and their tar is not.
        ValueError: if a file is damaged.
    """
    rows = failures = tar = None
    fingerprint = latest
    name = f"{form.folder}/{stem}{form.suffix}"
    if output.exists(name):
        rows, fingerprint, tarred = stamp_of_rows(output, form, name)
        tar = stamp_of_tar(output, stem) if tarred and tars else None
    name = f"{FAILURES.folder}/{stem}{FAILURES.suffix}"
    if output.exists(name):
        data = output.read(name)
        failures = stamp(name, data, (row.id for row in read_failures(data, output.uri(name))))
    return Receipt(stem, fingerprint, "", 0.0, rows, failures, tar=tar)


class Rows(NamedTuple):
    """A file of rows.

    Attributes:
        stamp: as it is.
        fingerprint: digest of the settings that it was made with.
        tarred: whether a tar is beside it, as it says.
    """

    stamp: FileStamp
    fingerprint: str
    tarred: bool


def stamp_of_rows(output: Storage, form: RowFormat, name: str) -> Rows:
    """A file of rows, read as a whole.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged or holds no rows.
    """
    data = output.read(name)
    keys = form.read_keys(data, output.uri(name))
    if not keys:
        raise ValueError(f"{output.uri(name)} holds no rows, which Beamscribe never writes")
    made_of = (key.made_of for key in keys) if form.holds_captions else ()
    return Rows(stamp(name, data, (key.id for key in keys), made_of), keys[0].fingerprint, keys[0].tarred)


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
