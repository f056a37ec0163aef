"""Tars beside rows: whatever is killed or lost, each row has its sample, and each sample its row."""

import hashlib
import io
import json
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas import sample_tar
from beamscribe.schemas.caption_row import CaptionRow, SourceFile
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import CAPTIONS, FAILURES, ParquetRows, read_failures, with_tars
from beamscribe.storage.committed import read_receipts
from beamscribe.storage.storage import Storage
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import FINGERPRINT, START, FakeJob, shard

TARRED = with_tars(CAPTIONS)


@dataclass(frozen=True)
class TarredJob(FakeJob):
    """The image "7" is a file of the bytes "7"."""

    format: ParquetRows = field(default_factory=lambda: TARRED)

    def open(self, run: Run) -> Process:
        process = super().open(run)

        def with_files(part: Shard) -> Iterator[Any]:
            for row in process(part):
                is_row = isinstance(row, CaptionRow)
                yield row._replace(file=SourceFile("jpg", row.id.encode())) if is_row else row

        return with_files


def do(output: Storage, part: Shard, failing: str = "", fingerprint: str = FINGERPRINT) -> Receipt:
    run = Run(output, TARRED, fingerprint, START)
    return commit_shard(part, TarredJob(frozenset(failing)).open(run), run)


def rows_of(output: Storage) -> dict[str, list[tuple[str, str]]]:
    """Ids and fingerprints by stem."""
    return {
        entry.name[9:-8]: [(one.id, one.fingerprint) for one in TARRED.read_keys(output.read(entry.name), "")]
        for entry in output.files("captions")
    }


def failed(output: Storage) -> list[str]:
    return [row.id for entry in output.files(FAILURES.folder) for row in read_failures(output.read(entry.name), "")]


def assert_as_one(output: Storage) -> None:
    """Each file of rows has a tar of exactly its samples, and there is no other tar."""
    rows = rows_of(output)
    assert [entry.name for entry in output.files("webdataset")] == [f"webdataset/{stem}.tar" for stem in rows]
    for stem, found in rows.items():
        samples = dict(sample_tar.decode(output.read(f"webdataset/{stem}.tar"), stem))
        assert list(samples) == [id for id, _ in found]
        for id, one in samples.items():
            assert (one.key, one.suffix, one.image) == (sample_tar.key_of(id), "jpg", id.encode())
            assert one.text.decode() == json.loads(one.row)["caption"] == f"{id} in oil"


NAME = "00001-of-00004"


def test_a_commit_is_rows_and_a_tar_that_a_receipt_describes(output: Storage) -> None:
    receipt = do(output, shard(NAME, "a", "b", "c"), failing="b")
    assert_as_one(output)
    assert receipt.tar
    assert receipt.rows
    assert receipt.rows.ids == ("a", "c")
    data = output.read(receipt.tar.name)
    assert tuple(receipt.tar) == (f"webdataset/{receipt.stem}.tar", len(data), hashlib.sha256(data).hexdigest(), (), ())
    assert Receipt.from_json(output.read(receipt.name)) == receipt
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in tar} == {(0, 0, 0, "", 0o644)}
    # A duplicate is equal to the byte; one in which all fails has neither rows nor a tar.
    do(output, shard(NAME, "a", "b", "c"), failing="b")
    assert output.read(receipt.tar.name) == data
    assert do(output, shard(NAME, "a", "b", "c"), failing="abc").tar is None
    assert not output.files("webdataset")
    assert "tar" not in json.loads(output.read(receipt.name))


def recover(output: DyingStorage, ids: str = "abc") -> None:
    """As a run does: settles, sweeps, and does the rest."""
    output.live(None)
    ledger = Ledger(output, TARRED)
    receipts = ledger.sweep(ledger.settle(FINGERPRINT))
    there = {id for one in receipts for file in (one.rows, one.failures) if file for id in file.ids}
    if rest := [id for id in ids if id not in there]:
        do(output, shard(NAME, *rest))
    assert_as_one(output)
    found = [id for pairs in rows_of(output).values() for id, _ in pairs]
    assert sorted(found + failed(output)) == sorted(ids)
    settled = Ledger(output, TARRED).settle(FINGERPRINT)
    assert {one.stem for one in settled if one.tar} == set(rows_of(output))
    assert Ledger(output, TARRED).receipts() == settled


def twin_ends_otherwise(output: Storage) -> None:
    do(output, shard(NAME, "a", "b", "c"), failing="c")
    do(output, shard(NAME, "a", "b", "c"), failing="a")


def twin_fails(output: Storage) -> None:
    do(output, shard(NAME, "a", "b", "c"))
    do(output, shard(NAME, "a", "b", "c"), failing="abc")


def settings_change(output: Storage) -> None:
    old = do(output, shard(NAME, "a", "b", "c"), fingerprint="old")
    new = do(output, shard(NAME, "a", "b"))
    Ledger(output, TARRED).remove_done([old], [new])


@pytest.mark.parametrize("work", [twin_ends_otherwise, twin_fails])
def test_a_kill_between_any_two_writes_leaves_a_sample_a_row(work: Callable[[Storage], None]) -> None:
    for operations in range(100):
        output = DyingStorage(f"memory://{uuid.uuid4().hex}")
        output.live(operations)
        try:
            work(output)
        except Killed:
            recover(output)
        else:
            break
        finally:
            output.remove()
    assert operations >= 8


def test_a_change_of_settings_removes_the_tars_of_what_was_replaced() -> None:
    for operations in range(100):
        output = DyingStorage(f"memory://{uuid.uuid4().hex}")
        output.live(operations)
        try:
            settings_change(output)
            alive = True
        except Killed:
            alive = False
            output.live(None)
            Ledger(output, TARRED).settle(FINGERPRINT)
        assert_as_one(output)
        if alive:
            # Of the old commit only what was not done again is left, with its image.
            assert sorted(pair for found in rows_of(output).values() for pair in found) == [
                ("a", FINGERPRINT),
                ("b", FINGERPRINT),
                ("c", "old"),
            ]
        output.remove()
        if alive:
            break
    assert operations >= 10


@pytest.mark.parametrize("harm", ["gone", "cut", "another", "receipts lost"])
def test_rows_whose_tar_is_lost_are_done_again(memory: Storage, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = DyingStorage(memory.root)
    hurt, other = do(output, shard(NAME, "a", "b", "c"), failing="c"), do(output, shard(NAME, "d"))
    data = output.read(hurt.tar.name)
    if harm == "gone":
        output.delete(hurt.tar.name)
    elif harm == "cut":
        output.write(hurt.tar.name, data[:700])
    else:
        output.write(hurt.tar.name, output.read(other.tar.name) if harm == "another" else data)
        for receipt in (hurt, other):
            output.delete(receipt.name)
    # Who only reads rows has all of them, and writes nothing.
    assert sum(len(one.rows.ids) for one in read_receipts(output, TARRED, FINGERPRINT) if one.rows) == 3
    kept = Ledger(output, CAPTIONS).settle(FINGERPRINT)  # of a run with the other layout
    whole = harm == "receipts lost"
    assert sorted(one.rows.ids for one in kept if one.rows) == ([("a", "b"), ("d",)] if whole else [("d",)])
    assert ("captioned again" in capsys.readouterr().err) == (not whole)
    assert failed(output) == ["c"]
    recover(output, "abcd")


def test_a_damaged_tar_is_an_error_that_says_so() -> None:
    def tar(row: bytes, text: bytes = b"A cat.") -> bytes:
        return sample_tar.encode([sample_tar.Sample("k", "png", b"x" * 600, text, row)])

    whole = tar(b'{"id": "a", "caption": "A cat."}')
    assert [id for id, _ in sample_tar.decode(whole, "a.tar")] == ["a"]
    parts = [whole[:place] for place in (0, 100, 700, 1200, 2100, 2600, 4096, -512)]
    rows = [tar(row) for row in (b"[]", b"{}", b'{"id": 1}', b"\xff", b"[" * 100_000)]
    for damaged in (*parts, *rows, whole.replace(b"k.txt", b"l.txt"), b"nothing" * 200):
        with pytest.raises(ValueError, match=r"^a\.tar is no tar of Beamscribe, or is damaged"):
            list(sample_tar.decode(damaged, "a.tar"))
