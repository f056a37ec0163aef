"""A plan: forecasts that can be told by hand, checks, and nothing left behind."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from beamscribe.errors import CHECK_FAILED, DONE, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.runtime import plan as plan_module
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.free_space import check_writable
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.plan import Sample, forecast, take_sample
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.pipelines.speak import run as speak
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import FakeJob, captions_of, noted, reference, references
from tests.pipelines.test_speak import write_captions

FINGERPRINT = Fingerprint({"style": "oil"})


@pytest.fixture(autouse=True)
def _just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own: the one of the tests may be hours old."""
    monkeypatch.setattr(plan_module, "seconds_running", lambda: 2.0)


@dataclass(frozen=True)
class SlowJob(FakeJob):
    """A hundredth of a second and a file of ten bytes an item."""

    def open(self, run: Run) -> Process:
        process = super().open(run)

        def slowly(shard: Shard) -> Iterator:
            for item in shard.todo:
                time.sleep(0.01)
                run.output.write(f"audio/{item.reference.id}.mp3", b"0123456789")
            yield from process(shard)

        return slowly


@dataclass(frozen=True)
class HeavyJob(FakeJob):
    """Three tenths of a second to open."""

    def open(self, run: Run) -> Process:
        time.sleep(0.3)
        return super().open(run)


@dataclass(frozen=True)
class Budgeted(FakeJob):
    """A job whose service may be asked twice a minute."""

    requests_per_minute: float | None = 2.0

    def open(self, run: Run) -> Process:
        raise AssertionError("the budget is not for samples")


def ask(
    output: Storage, job: FakeJob, ids: list[str] | tuple[WorkItem, ...], retry_failed: bool = False, plan: bool = True
) -> int:
    found = ids if isinstance(ids, tuple) else references(*ids)
    return launch(
        Request(
            job=job,
            corpus=distinct(found),
            output=output,
            fingerprint=FINGERPRINT,
            details={},
            flags=JobFlags(64, None, retry_failed, "refuse", {}, plan=plan),
            options=parse(FlagParser(prog="beamscribe fake"), [])[1],
        )
    )


IDS = [f"{number:03}" for number in range(300)]


def test_a_sample_is_done_and_thrown_away(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    todo = [PendingItem(reference(id)) for id in IDS]
    sample = take_sample(SlowJob(frozenset(["001"]), log=log), todo, shard_size=64, seconds=0.5)
    assert sample.items == 64 + sample.timed <= 300
    assert 0.01 <= sample.seconds / sample.timed < 0.1
    assert (sample.files, sample.file_bytes) == (sample.items, 10 * sample.items)
    assert [row.id for row in sample.failures] == ["001"]
    assert noted(log)[0] == "open"
    assert sum(len(line.split()) for line in noted(log)[1:]) == sample.items


def test_opening_is_told_apart() -> None:
    sample = take_sample(HeavyJob(), [PendingItem(reference(id)) for id in IDS], shard_size=64, seconds=0.01)
    assert 0.25 < sample.opening_seconds < 3
    assert sample.seconds / sample.timed < 0.01


@pytest.mark.parametrize(("count", "timed"), [(0, 0), (10, 0), (40, 8), (70, 6)])
def test_a_small_corpus_is_its_own_sample(count: int, timed: int) -> None:
    sample = take_sample(FakeJob(), [PendingItem(reference(id)) for id in IDS[:count]], shard_size=64, seconds=0.1)
    assert (sample.items, sample.timed) == (count, timed)


def test_containers_are_sampled_whole() -> None:
    todo = [PendingItem(WorkItem(str(n), f"u{n}", container=f"file{n // 7}")) for n in range(35)]
    sample = take_sample(FakeJob(), todo, shard_size=64, seconds=0.0)
    assert (sample.items, sample.timed) == (21, 7)


def test_a_forecast() -> None:
    sample = Sample(5.0, 100, 20.0, 0.4, 150, 20.0, 1500, 300, ())
    found = forecast(sample, items=1000, references=2000, shards=8, before_seconds=10.0)
    assert found.seconds == pytest.approx(10 + 5 + 200)
    assert found.a_second == pytest.approx(5)
    assert found.core_hours == pytest.approx(400 / 3600)
    assert found.bytes == 20 * 2000 + 10 * 1000
    assert found.files == 2 * 1000 + 2 * 8


def test_a_forecast_of_nothing() -> None:
    found = forecast(Sample(5.0, 0, 0.0, 0.0, 0, 0, 0, 0, ()), 0, 0, 0, 10.0)
    assert (found.seconds, found.a_second, found.bytes, found.files) == (15.0, None, 0, 0)


def test_a_plan_writes_nothing(local: Storage, memory: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    for output in (local, memory):
        assert ask(output, FakeJob(frozenset(["003"])), IDS[:100]) == DONE
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "beamscribe caption: 100 of 100 to do"
        assert "99 of 100 sampled are well" in " ".join(told)
        assert any(line.strip() == "1 × read: FakeError" for line in told)
        assert told[-1].startswith("beamscribe caption: plan: 100 to do in 0:00:")
        assert f" files → {output.uri()}" in told[-1]
        assert [entry for entry in (output.walk("") if output.exists("") else []) if entry.size] == []
    assert not os.path.exists(local.path(""))


def test_what_is_done_is_not_planned(local: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(local, FakeJob(frozenset("b")), list("abc"), plan=False) == DONE
    before = captions_of(local)
    capsys.readouterr()
    assert ask(local, FakeJob(), list("abcde")) == DONE
    assert "beamscribe caption: 2 of 5 to do" in capsys.readouterr().out
    assert ask(local, FakeJob(), list("abcde"), retry_failed=True) == DONE
    assert "beamscribe caption: 3 of 5 to do" in capsys.readouterr().out
    assert captions_of(local) == before


def test_a_budget_is_forecast_without_a_request(local: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tuple(WorkItem(str(n), f"u{n}", text=f"t{n // 2}", group=f"t{n // 2}") for n in range(11520))
    assert ask(local, Budgeted(), texts) == DONE
    told = capsys.readouterr().out
    assert "5,760 texts at 2 requests a minute" in told
    assert "plan: 11,520 to do in 2 days, 0:00:" in told


@pytest.mark.slow
def test_speech_is_sampled_once_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The first is a text of so many images that they are in several shards.
    texts = {str(n): "A cat sits." if n < 20 else f"Dog {n} runs." for n in range(30)}
    captions = write_captions(tmp_path / "captions", texts)
    flags = ["--captions", captions, "--output", str(tmp_path / "speech"), "--shard-size", "4", "--plan"]
    assert speak(flags) == DONE
    told = capsys.readouterr().out
    assert "11 of 11 sampled are well" in told
    assert "plan: 30 to do" in told
    assert speak([*flags, "--engine", "gtts", "--requests-per-minute", "2"]) == DONE
    told = capsys.readouterr().out
    assert "11 texts at 2 requests a minute" in told
    assert "plan: 30 to do in 0:05:3" in told
    assert not (tmp_path / "speech").exists()


def test_an_output_without_room_is_told(
    local: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan_module, "check_writable", lambda output: 10)
    assert ask(local, FakeJob(), list("abc")) == CHECK_FAILED
    assert "which has no room for them" in capsys.readouterr().out


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="cannot be written"):
        check_writable(Storage(str(tmp_path / "file" / "deeper")))
    assert check_writable(Storage(str(tmp_path / "new" / "deeper"))) > 0
    assert not (tmp_path / "new").exists()
