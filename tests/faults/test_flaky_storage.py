"""Jobs on a storage that fails one call in five."""

import itertools
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest

from beamscribe.errors import DONE, STOPPED
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime import running
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage
from tests.faults.flaky import PROTOCOL, FlakyFileSystem
from tests.pipelines.fake_job import FakeJob, attempts_of, captions_of, references

pytestmark = pytest.mark.slow

COUNT = 60
IDS = tuple(f"{number:02d}" for number in range(COUNT))
FAILING = frozenset(IDS[::7])
RUNS = 3


@pytest.fixture
def flaky() -> Iterator[Callable[[int], Storage]]:
    """Makes outputs on a storage that fails one call in five, in an order that the seed decides."""

    def make(seed: int) -> Storage:
        FlakyFileSystem.share, FlakyFileSystem.random = 0.2, random.Random(seed)
        FlakyFileSystem.faults = FlakyFileSystem.calls = 0
        return Storage(f"{PROTOCOL}://{uuid.uuid4().hex}")

    yield make
    FlakyFileSystem.share = 0.0
    FlakyFileSystem.store.clear()


def go(output: Storage, job: FakeJob) -> int:
    return launch(
        Request(
            job=job,
            corpus=distinct(references(*IDS)),
            output=output,
            fingerprint=Fingerprint({"style": "oil"}),
            details={},
            flags=JobFlags(4, None, False, "refuse", {}),
            options=parse(FlagParser(prog="beamscribe fake"), [])[1],
        )
    )


def run_until_done(output: Storage, job: FakeJob) -> None:
    codes = []
    while DONE not in codes:
        codes.append(go(output, job))
        assert codes[-1] in (DONE, STOPPED)
        assert len(codes) <= RUNS, codes
    assert FlakyFileSystem.faults > 20, FlakyFileSystem.calls
    FlakyFileSystem.share = 0.0


@pytest.mark.parametrize("seed", range(4))
def test_everything_is_there_after_three_runs_at_most(flaky: Callable[[int], Storage], seed: int) -> None:
    output = flaky(seed)
    run_until_done(output, FakeJob(FAILING))
    assert captions_of(output) == [(id, f"{id} in oil") for id in IDS if id not in FAILING]
    assert attempts_of(output) == [(id, 1) for id in IDS if id in FAILING]
    assert verify(output) == (COUNT - len(FAILING), len(FAILING), 0, ())


def everything_twice(pipeline: beam.Pipeline, parts: Any, pending: Any, commits: Any) -> None:
    shards = pipeline | beam.Create(parts) | pending
    shards | "Twice" >> beam.FlatMap(lambda shard: [shard, shard]) | "CommitShards" >> commits  # noqa: B018


@pytest.mark.parametrize("seed", range(2))
def test_every_shard_processed_twice(
    flaky: Callable[[int], Storage], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "build", everything_twice)
    output = flaky(seed)
    run_until_done(output, FakeJob(FAILING))
    assert captions_of(output) == [(id, f"{id} in oil") for id in IDS if id not in FAILING]
    assert verify(output) == (COUNT - len(FAILING), len(FAILING), 0, ())


class Moody(FakeJob):
    """Fails at other images each time."""

    def open(self, run: Any) -> Any:
        moods = itertools.cycle([FakeJob(FAILING).open(run), FakeJob(frozenset(IDS[::3])).open(run)])
        return lambda shard: next(moods)(shard)


@pytest.mark.parametrize("seed", range(2))
def test_every_shard_processed_twice_with_different_outcomes(
    flaky: Callable[[int], Storage], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "build", everything_twice)
    output = flaky(seed)
    run_until_done(output, Moody())
    captions, failures = captions_of(output), [id for id, _ in attempts_of(output)]
    assert sorted([id for id, _ in captions] + failures) == list(IDS)
    assert set(failures) <= FAILING | set(IDS[::3])
    assert verify(output) == (len(captions), len(failures), 0, ())
