"""The ledger: which ids an output holds. Data files are the truth, receipts spare reading them again."""

import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

import pyarrow as pa

from beamscribe.pipelines.commits.completion import Completion, completion_of, newest_failures
from beamscribe.pipelines.work.shards import OWN_NAME, asked_digest
from beamscribe.schemas import sample_tar
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import RECEIPTS, FileStamp, Receipt, stamp
from beamscribe.schemas.rows import FAILURES, RowFormat
from beamscribe.storage.committed import (
    data_sizes,
    failures_of,
    receipt_from_files,
    stamp_of_rows,
    stem_of,
    stored_receipts,
)
from beamscribe.storage.sample_tars import LostTarError, sample_tars
from beamscribe.storage.storage import Storage

NO_STALE_ROWS: Mapping[str, Set[str]] = MappingProxyType({})

_MADE = re.compile(r".*-[0-9a-f]{16}", re.DOTALL)
"""Stems of receipts: no other file there was written by Beamscribe."""


@dataclass(frozen=True)
class Ledger:
    """The committed shards of one output.

    Attributes:
        output: the job's output folder.
        format: how its rows are stored.
    """

    output: Storage
    format: RowFormat

    def receipts(self) -> list[Receipt]:
        """Every receipt whose files are as it says; a damaged receipt counts as lost."""
        return stored_receipts(self.output, self.format, tars=True)

    def settle(self, fingerprint: str) -> list[Receipt]:
        """Makes receipts agree with the data files: a kill may fall between a file and its receipt.

        Rows whose tar is lost are removed, so that they are done again, and so are tars without rows.

        Only the holder of the lease may call this.

        Args:
            fingerprint: of the latest run, which alone can have left a failure file without a receipt.

        Returns:
            All receipts.

        Raises:
            ValueError: if a data file cannot be read.
        """
        receipts = {receipt.stem: receipt for receipt in self.receipts()}
        known = {file.name for receipt in receipts.values() for file in (receipt.rows, receipt.failures) if file}
        names = data_sizes(self.output, self.format).keys()
        for name in names - known:
            # Whatever an old receipt of the same commit said, the files are read anew.
            receipts.pop(stem_of(name), None)
        lost = {stem_of(name) for name in names if stem_of(name) not in receipts}
        for entry in self.output.files(RECEIPTS, ".json"):
            if stem_of(entry.name) not in receipts.keys() | lost and _MADE.fullmatch(stem_of(entry.name)):
                self.output.delete(entry.name)
        for stem in sorted(lost):
            found = self._made_again(stem, fingerprint)
            if found:
                receipts[stem] = found
                self.output.write(found.name, found.to_json())
        for stem, receipt in receipts.items():
            # Receipts of version 0.1 do not say which captions the rows hold; their files are read once.
            if self.format.holds_captions and receipt.rows and not receipt.rows.made_of:
                receipts[stem] = receipt._replace(rows=stamp_of_rows(self.output, self.format, receipt.rows.name)[0])
                self.output.write(receipt.name, receipts[stem].to_json())
        tars = {receipt.tar.name for receipt in receipts.values() if receipt.tar}
        for entry in sample_tars(self.output, self.format):
            if entry.name not in tars and OWN_NAME.fullmatch(entry.name):
                self.output.delete(entry.name)
        return [receipts[stem] for stem in sorted(receipts)]

    def _made_again(self, stem: str, fingerprint: str) -> Receipt | None:
        """The receipt of a commit that has lost it; None if nothing is left of the commit."""
        try:
            return receipt_from_files(self.output, self.format, stem, fingerprint, tars=True)
        except LostTarError as error:
            print(printable(f"beamscribe: {error}: its images are captioned again"), file=sys.stderr, flush=True)
            name = f"{self.format.folder}/{stem}{self.format.suffix}"
            settings = stamp_of_rows(self.output, self.format, name).fingerprint
            # The tar goes as one without rows.
            self.output.delete(name)
            rest = receipt_from_files(self.output, self.format, stem, settings)
            if not rest.failures:
                self.output.delete(rest.name)
                return None
            return rest

    def sweep(self, receipts: Sequence[Receipt], stale: Mapping[str, Set[str]] = NO_STALE_ROWS) -> list[Receipt]:
        """Removes failure rows that a row or a newer failure of their id supersedes.

        Only the holder of the lease may call this.

        Args:
            receipts: of the commits that count.
            stale: ids of rows that do not count, by the stem of their commit.

        Returns:
            The receipts as they are afterwards.
        """
        failure_files = self.failures(receipts)
        if not failure_files:
            return list(receipts)
        newest = newest_failures(chain.from_iterable(failure_files.values()))
        rows = {
            id
            for one in receipts
            if one.rows
            for id in one.rows.ids
            if id in newest and id not in stale.get(one.stem, ())
        }
        swept = []
        for receipt in receipts:
            failures = failure_files.get(receipt.stem, [])
            kept = [row for row in failures if row.id not in rows and newest[row.id] == row]
            swept.append(receipt if len(kept) == len(failures) else self._rewrite(receipt, kept))
        return [receipt for receipt in swept if receipt.rows or receipt.failures]

    def failures(self, receipts: Iterable[Receipt]) -> dict[str, list[FailureRow]]:
        """The failure rows of commits, by stem; of those that have some."""
        return failures_of(self.output, receipts)

    def _rewrite(self, receipt: Receipt, kept: Sequence[FailureRow]) -> Receipt:
        if not receipt.failures:
            raise ValueError(f"{receipt.stem} has no failures to rewrite")
        name = receipt.failures.name
        if kept:
            data = FAILURES.encode(kept)
            self.output.write(name, data)
            receipt = receipt._replace(failures=stamp(name, data, (row.id for row in kept)))
        else:
            self.output.delete(name)
            receipt = receipt._replace(failures=None)
        if receipt.rows or receipt.failures:
            self.output.write(receipt.name, receipt.to_json())
        else:
            self.output.delete(receipt.name)
        return receipt

    def remove(self, receipts: Iterable[Receipt]) -> None:
        """Deletes commits, data first, so that a kill in between leaves only a receipt to clear away.

        Failures go before rows: rows say under which settings they were made, failure rows do not.
        """
        for receipt in receipts:
            for file in (receipt.failures, receipt.rows, receipt.tar):
                if file:
                    self.output.delete(file.name)
            self.output.delete(receipt.name)

    def remove_done(self, replaced: Iterable[Receipt], current: Iterable[Receipt]) -> None:
        """Deletes of some commits what others hold too: rows of images that were not done again stay.

        Only the holder of the lease may call this.

        Args:
            replaced: commits under earlier settings.
            current: commits that replace them.
        """
        done = {id for receipt in current for id in _ids(receipt)}
        for receipt in replaced:
            self.keep_only(receipt, {id for id in _ids(receipt) if id not in done})

    def keep_only(self, receipt: Receipt, rest: Collection[str]) -> bool:
        """Deletes of a commit all rows and failure rows but those of some ids, which become a commit of their own.

        Returns:
            Whether anything was deleted.
        """
        if len(rest) == len(_ids(receipt)):
            return False
        try:
            self._write_part(receipt, rest)
        except ValueError:
            # What cannot be read cannot be parted. `verify` names such a file, and its repair removes it.
            return False
        self.remove([receipt])
        return True

    def _write_part(self, receipt: Receipt, ids: Collection[str]) -> None:
        """Writes the rows and failure rows of some ids of a commit as a commit of its own."""
        if not ids:
            return
        stem = f"{receipt.stem.rpartition('-')[0]}-{asked_digest(receipt.fingerprint, ids)}"
        files: dict[str, bytes] = {}

        def part(form: RowFormat, file: FileStamp | None) -> FileStamp | None:
            kept = [id for id in file.ids if id in ids] if file else []
            if not file or not kept:
                return None
            name = f"{form.folder}/{stem}{form.suffix}"
            files[name] = form.only(self.output.read(file.name), self.output.uri(file.name), ids)
            made_of = [digest for id, digest in zip(file.ids, file.made_of, strict=False) if id in ids]
            return stamp(name, files[name], kept, made_of)

        tar = None
        if receipt.tar and receipt.rows and any(id in ids for id in receipt.rows.ids):
            name = sample_tar.tar_of(stem)
            # Before the rows.
            files[name] = sample_tar.only(self.output.read(receipt.tar.name), self.output.uri(receipt.tar.name), ids)
            tar = stamp(name, files[name], ())
        parted = receipt._replace(
            stem=stem, rows=part(self.format, receipt.rows), failures=part(FAILURES, receipt.failures), tar=tar
        )
        # Failure rows do not say under which settings they failed. After a kill in between, a receipt without its file
        # is cleared away, but such a file without its receipt would count as the latest run's.
        self.output.write(parted.name, parted.to_json())
        for name, data in files.items():
            self.output.write(name, data)

    def completion_of(self, asked: pa.LargeStringArray | pa.ChunkedArray, receipts: Sequence[Receipt]) -> Completion:
        """What some commits hold of the ids that were asked."""
        rows = chain.from_iterable(receipt.rows.ids for receipt in receipts if receipt.rows)
        return completion_of(asked, rows, chain.from_iterable(self.failures(receipts).values()))


def _ids(receipt: Receipt) -> list[str]:
    """The ids of the rows and failure rows of a commit."""
    return [id for file in (receipt.rows, receipt.failures) if file for id in file.ids]


def count_failures(rows: Iterable[FailureRow]) -> Counter[tuple[str, str]]:
    """How many failures there are of each (stage, error type)."""
    return Counter((row.stage, row.error_type) for row in rows)
