"""What `verify --repair` does with what it found: it only removes, and a run of the job does the rest."""

from collections.abc import Collection
from dataclasses import replace

from model.storage import Storage
from pipelines.commits.commit import RECEIPTS
from pipelines.commits.lease import Lease
from pipelines.commits.ledger import Ledger
from pipelines.commits.manifest_file import manifest_of
from pipelines.commits.rows import RowFormat
from schemas.command import RefusedError
from schemas.printable import printable


def repair(output: Storage, form: RowFormat, remove: Collection[str], orphans: Collection[str]) -> None:
    """Takes away what cannot be kept, then makes receipts agree with what is left.

    Args:
        output: of a job; no other run may write it meanwhile.
        form: how its rows are stored.
        remove: data files whose images are to be done again.
        orphans: files that belong to nothing.

    Raises:
        RefusedError: if another run writes the output.
    """
    with Lease(output) as lease:
        output = replace(output, run=lease.token)
        manifest = manifest_of(output)
        for name in sorted({*remove, *orphans}):
            print(printable(f"beamscribe verify: removes {name}"))
            output.delete(name)
            stem = name.rsplit("/", 1)[-1].split(".", 1)[0]
            output.delete(f"{RECEIPTS}/{stem}.json")
        ledger = Ledger(output, form)
        try:
            receipts = ledger.settle(manifest.fingerprint.digest)
        except ValueError as error:  # of a newer Beamscribe, whose files are not ours to judge
            raise RefusedError(str(error)) from error
        ledger.sweep([receipt for receipt in receipts if receipt.fingerprint in manifest.kept_fingerprints])
