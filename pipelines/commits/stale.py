"""Rows that hold other captions than are asked for now: they are done again, image by image, and then removed."""

from collections.abc import Iterable, Mapping, Sequence, Set

from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.feature_example import captions_digest
from beamscribe.schemas.receipt import Receipt


def asked_captions(references: Iterable[WorkItem], holds_captions: bool, on_change: str) -> dict[str, str]:
    """The digest of the captions of each image that a run is asked for, by id.

    Args:
        references: of the corpus.
        holds_captions: whether rows hold captions; without them nothing can be stale.
        on_change: with "keep", rows stay whatever their captions are.
    """
    if not holds_captions or on_change == "keep":
        return {}
    return {reference.id: captions_digest(reference.captions) for reference in references}


def stale_rows(receipts: Iterable[Receipt], asked: Mapping[str, str]) -> dict[str, Set[str]]:
    """Ids of rows whose captions are not those that are asked for, by the stem of their commit; others do not count."""
    found: dict[str, Set[str]] = {}
    for receipt in receipts:
        if receipt.rows and receipt.rows.made_of:
            pairs = zip(receipt.rows.ids, receipt.rows.made_of, strict=False)
            if stale := {id for id, digest in pairs if asked.get(id, digest) != digest}:
                found[receipt.stem] = stale
    return found


def without_stale(receipts: Iterable[Receipt], stale: Mapping[str, Set[str]]) -> list[Receipt]:
    """Receipts that do not name stale rows; of files that still hold them."""
    found = []
    for receipt in receipts:
        gone = stale.get(receipt.stem)
        if gone and receipt.rows:
            pairs = zip(receipt.rows.ids, receipt.rows.made_of, strict=False)
            kept = [(id, digest) for id, digest in pairs if id not in gone]
            ids, made_of = zip(*kept, strict=True) if kept else ((), ())
            receipt = receipt._replace(rows=receipt.rows._replace(ids=tuple(ids), made_of=tuple(made_of)))
        found.append(receipt)
    return found


def remove_stale(ledger: Ledger, receipts: Sequence[Receipt], stale: Mapping[str, Set[str]]) -> bool:
    """Removes stale rows whose images have been done again; says whether there were any.

    Only the holder of the lease may call this. A kill in between leaves both rows, and the next run removes the old.

    Args:
        ledger: of the output.
        receipts: as they are stored.
        stale: of these.
    """
    current = without_stale(receipts, stale)
    done = {id for one in current for file in (one.rows, one.failures) if file for id in file.ids}
    removed = False
    for receipt in receipts:
        if gone := stale.get(receipt.stem, set()) & done:
            ids = {id for file in (receipt.rows, receipt.failures) if file for id in file.ids}
            removed |= ledger.keep_only(receipt, ids - gone)
    return removed
