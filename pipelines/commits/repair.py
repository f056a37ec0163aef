"""What `verify --repair` does with what it found: it only removes, and a run of the job does the rest."""

import os
from collections.abc import Collection
from dataclasses import replace

from beamscribe.errors import RefusedError
from beamscribe.pipelines.commits.lease import Lease
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.schemas.rows import RowFormat
from beamscribe.schemas.table import NewerSchemaError
from beamscribe.storage.output_reader import manifest_of
from beamscribe.storage.storage import Storage


def _is_linked(output: Storage, name: str) -> bool:
    """Whether a file of an output, or a folder on the way to it, is a link to what may not belong to the output."""
    if not output.local:
        return False
    *folders, _ = name.split("/")
    ways = ["/".join(folders[:depth]) for depth in range(1, len(folders) + 1)]
    return any(os.path.islink(output.path(way)) for way in (*ways, name))


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
            if _is_linked(output, name):
                print(f"beamscribe verify: leaves {name}, to which a link leads: delete the file or the link")
                continue
            print(printable(f"beamscribe verify: removes {name}"))
            output.delete(name)
            stem = name.rsplit("/", 1)[-1].split(".", 1)[0]
            output.delete(f"{RECEIPTS}/{stem}.json")
        ledger = Ledger(output, form)
        try:
            receipts = ledger.settle(manifest.fingerprint.digest)
        except NewerSchemaError as error:  # Such files are not ours to judge.
            raise RefusedError(str(error)) from error
        except ValueError:
            # A file of others that stays; the findings after the repair say what to do with it.
            return
        ledger.sweep([receipt for receipt in receipts if receipt.fingerprint in manifest.kept_fingerprints])
