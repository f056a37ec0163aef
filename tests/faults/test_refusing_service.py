"""gTTS, as it is, against a service on this machine that refuses, fails, hangs up and sends garbage.

BEAMSCRIBE_REFUSED_TEXTS says how many texts are spoken; docs/speech.md has what 300 gave.
"""

import bisect
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import DONE, STOPPED
from beamscribe.pipelines.speech import SpeechSettings, open_engine
from beamscribe.pipelines.speech.audio import encode
from tests.pipelines.speech.translate_service import Reply, Service, audio_reply, serving

pytestmark = pytest.mark.slow

TEXTS = int(os.environ.get("BEAMSCRIBE_REFUSED_TEXTS", "100"))
REQUESTS_PER_MINUTE = 360
TWO_WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
LONG = 5
"""Of each hundred texts so many take two requests."""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    state = Service()
    with serving(state, tmp_path, monkeypatch):
        yield state


def write_captions(path: Path, count: int) -> Path:
    texts = [f"A dog runs after ball number {number}." for number in range(count)]
    for number in range(0, count, 100 // LONG):
        texts[number] += " It runs along the beach, jumps into the water and swims to an island full of birds."
    pq.write_table(pa.table({"image_uri": [f"s3://b/{number}.jpg" for number in range(count)], "caption": texts}), path)
    return path


@pytest.fixture(scope="module")
def mp3() -> bytes:
    return encode(open_engine(SpeechSettings()).synthesize("A dog runs after ball number twelve."), "mp3")


def replies_of(mp3: bytes) -> dict[str, Reply]:
    """What the service may do, by name."""
    return {
        "sound": audio_reply(mp3),
        "429": Reply(429),
        "429 soon": Reply(429, headers=(("Retry-After", "1"),)),
        "500": Reply(500),
        "reset": Reply(None),
        "web page": Reply(200, b"<html>Before you continue</html>"),
        "no audio": audio_reply(b"garbage" * 100),
    }


SHARES = {"sound": 82, "429": 5, "429 soon": 5, "500": 5, "reset": 2, "web page": 0.5, "no audio": 0.5}


@pytest.mark.parametrize("workers", [[], pytest.param(TWO_WORKERS, marks=pytest.mark.nightly)], ids=["one", "two"])
def test_everything_is_spoken_or_in_the_ledger_and_the_budget_is_kept_and_used(
    service: Service, mp3: bytes, tmp_path: Path, workers: list[str]
) -> None:
    done, replies = Counter[str](), replies_of(mp3)
    chance = random.Random(7)

    def answer(text: str) -> Reply:
        [name] = chance.choices(list(SHARES), list(SHARES.values()))
        done[name] += 1
        return replies[name]

    service.answer = answer
    captions = write_captions(tmp_path / "captions.parquet", TEXTS)
    budget = ["--engine=gtts", f"--requests-per-minute={REQUESTS_PER_MINUTE}"]
    command = ["speak", "--captions", str(captions), "--output", str(tmp_path / "out"), *budget, *workers]
    # Two shards, so that two workers have something to do.
    assert main([*command, f"--shard-size={TEXTS // 2}"]) == DONE
    index = ds.dataset(tmp_path / "out" / "index").to_table().to_pylist()
    failures = (tmp_path / "out" / "failures").glob("*.parquet")
    failed = [row for path in failures for row in pq.read_table(path).to_pylist()]
    assert len({row["id"] for row in index} | {row["id"] for row in failed}) == len(index) + len(failed) == TEXTS
    assert len(failed) <= TEXTS // 50
    assert main(["verify", str(tmp_path / "out")]) == DONE

    moments = sorted(one.when for one in service.asked)
    assert len(moments) == sum(done.values())
    a_second = REQUESTS_PER_MINUTE / 60
    assert len(moments) - 1 <= a_second * (moments[-1] - moments[0])
    seconds = 10.0
    most = max(bisect.bisect_left(moments, start + seconds) - place for place, start in enumerate(moments))
    # On a busy machine a request may take a second to arrive, and the next one none.
    assert most <= a_second * (seconds + 1) + 1
    # While texts remain that nobody has asked for yet.
    last = max(
        min(one.when for one in service.asked if one.text == text) for text in {one.text for one in service.asked}
    )
    used = sum(when < last for when in moments) / (a_second * (last - moments[0]))
    print(
        f"{dict(done)}; {len(failed)} failed; {used:.0%} of the budget used, {most} requests in {seconds:g} s at most"
    )
    assert used >= 0.8


def test_a_service_that_refuses_everything_is_left_alone(
    service: Service, mp3: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = write_captions(tmp_path / "captions.parquet", 40)
    command = ["speak", "--captions", str(captions), "--output", str(tmp_path / "out"), "--engine=gtts"]
    command += ["--requests-per-minute=6000", "--shard-size=4"]
    asked_for: set[str] = set()

    def answer(text: str) -> Reply:
        asked_for.add(text)
        return audio_reply(mp3) if len(asked_for) <= 15 else Reply(403)

    service.answer = answer
    assert main(command) == STOPPED
    assert "refused 10 texts in a row" in capsys.readouterr().err
    assert len(service.asked) < 40
    committed = {path.name: path.read_bytes() for path in (tmp_path / "out" / "index").iterdir()}
    assert committed
    service.answer = lambda text: audio_reply(mp3)
    asked = len(service.asked)
    assert main(command) == DONE
    # What had sound is not asked for again, whether its shard was committed or not.
    assert len(service.asked) - asked <= 42 - 15
    assert all((tmp_path / "out" / "index" / name).read_bytes() == data for name, data in committed.items())
    assert main(["verify", str(tmp_path / "out")]) == DONE
