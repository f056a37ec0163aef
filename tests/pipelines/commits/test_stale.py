"""Corrected captions: images whose captions have changed are done again, and no others."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from beamscribe.errors import DONE, STOPPED
from beamscribe.flag_parser import FlagParser
from beamscribe.model.examples import decode_file
from beamscribe.model.feature_records import FeatureRecords
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.runtime import launcher as launching
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.coco import CocoCaption
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.receipt import Receipt
from beamscribe.storage.storage import Storage
from tests.pipelines.dying_storage import Killed

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class FakeFeaturize:
    """Records of one number, without a backbone; notes which images it did, across whatever processes Beam uses."""

    log: str
    failing: frozenset[str] = frozenset()
    crash: bool = False
    name: str = "featurize"
    shards_at_once: int = 1
    format: FeatureRecords = field(default_factory=FeatureRecords)

    def stage_artifacts(self, output: Storage) -> "FakeFeaturize":
        return self

    def open(self, run: Run) -> Process:
        def process(shard: Shard) -> Iterator[FeatureExample | FailureRow]:
            if self.crash:
                raise RuntimeError("crashed")
            for item in shard.todo:
                with open(self.log, "a") as file:
                    file.write(item.reference.id)
                if item.reference.id in self.failing:
                    yield failure(item, "read", "Gone", "it is gone", run.started)
                else:
                    yield record(item.reference, run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        return []

    def tidy(self, output: Storage) -> None:
        pass


def record(reference: WorkItem, run: Run) -> FeatureExample:
    return FeatureExample(
        id=reference.id,
        file_name=reference.id,
        uri=reference.uri,
        sha256="0" * 64,
        width=1,
        height=1,
        repairs=(),
        features=b"\0\0",
        shape=(1, 1, 1),
        captions=tuple(caption.text for caption in reference.captions),
        caption_ids=tuple(caption.id for caption in reference.captions),
        fingerprint=run.fingerprint,
        run_started=run.started.isoformat(),
    )


FINGERPRINT = Fingerprint({"backbone": "none"})


def go(output: Storage, captions: dict[str, list[str]], expected: int = DONE, **changes: Any) -> list[str]:
    """Featurizes; returns the images that were done, sorted."""
    log = f"{output.path('')}.log"
    on_change = changes.pop("on_change", "refuse")
    references = [
        WorkItem(id, f"file:///{id}.jpg", captions=tuple(CocoCaption(n, text) for n, text in enumerate(texts)))
        for id, texts in captions.items()
    ]
    _, options = parse(FlagParser(), [])
    flags = JobFlags(2, None, False, on_change, {})
    job = FakeFeaturize(log, **changes)
    request = Request(job, distinct(references), output, FINGERPRINT, {}, flags, options)
    try:
        assert launch(request) == expected
        with open(log) as file:
            return sorted(file.read())
    except FileNotFoundError:
        return []
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)


def stored(output: Storage) -> list[tuple[str, tuple[str, ...]]]:
    """Ids and captions of all records, sorted."""
    entries = output.files("features")
    records = [found for entry in entries for found in decode_file(output.read(entry.name), entry.name)]
    return sorted((found.id, found.captions) for found in records)


OLD = {name: [f"{name} one", f"{name} two"] for name in "abcdef"}
NEW = {**OLD, "b": ["b one", "corrected"], "e": []}
WANTED = sorted((name, tuple(texts)) for name, texts in NEW.items())


def test_images_with_other_captions_are_done_again_and_no_others(local: Storage) -> None:
    assert go(local, OLD) == list("abcdef")
    assert go(local, OLD) == []
    assert go(local, NEW) == ["b", "e"]
    assert stored(local) == WANTED
    assert go(local, NEW) == []
    assert go(local, OLD) == ["b", "e"]
    assert stored(local) == sorted((name, tuple(texts)) for name, texts in OLD.items())


def test_keep_leaves_them(local: Storage) -> None:
    go(local, OLD)
    before = stored(local)
    assert go(local, {**NEW, "g": ["g"]}, on_change="keep") == ["g"]
    assert stored(local) == [*before, ("g", ("g",))]


def test_an_output_from_before_digests_were_kept_goes_on(local: Storage) -> None:
    go(local, OLD)
    for entry in local.files("_beamscribe/shards"):
        receipt = json.loads(local.read(entry.name))
        del receipt["rows"]["made_of"]
        local.write(entry.name, json.dumps(receipt).encode())
    assert go(local, NEW) == ["b", "e"]
    assert stored(local) == WANTED


def test_a_lost_receipt_is_made_again_with_its_captions(local: Storage) -> None:
    go(local, OLD)
    for entry in local.files("_beamscribe/shards"):
        local.delete(entry.name)
    assert go(local, NEW) == ["b", "e"]
    assert stored(local) == WANTED


def test_an_image_that_can_no_longer_be_read_is_one_failure(local: Storage) -> None:
    go(local, OLD)
    assert go(local, NEW, failing=frozenset("b")) == ["b", "e"]
    assert stored(local) == [row for row in WANTED if row[0] != "b"]
    assert go(local, NEW) == []
    failures = Ledger(local, FeatureRecords()).receipts()
    assert [id for receipt in failures if receipt.failures for id in receipt.failures.ids] == ["b"]


def test_a_run_that_stops_before_it_does_them_again_loses_nothing(local: Storage) -> None:
    go(local, OLD)
    before = stored(local)
    go(local, NEW, expected=STOPPED, crash=True)
    assert stored(local) == before
    assert go(local, NEW) == ["b", "e"]
    assert stored(local) == WANTED


def test_a_kill_before_old_rows_are_removed_is_made_good_by_the_next_run(
    local: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(local, OLD)

    def killed(*arguments: Any) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(launching, "remove_stale", killed)
        with pytest.raises(Killed):
            go(local, NEW)
    local.delete("_beamscribe/lease.json")
    assert go(local, NEW) in ([], ["b", "e"])
    assert stored(local) == WANTED
