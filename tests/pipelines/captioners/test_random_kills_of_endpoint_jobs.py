"""What kills of the process cost in paid answers, and what an unkind service costs in requests.

`BEAMSCRIBE_ENDPOINT_IMAGES=1000` runs both at full size.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer, make_photographs

IMAGES = int(os.environ.get("BEAMSCRIBE_ENDPOINT_IMAGES", "96"))
KILLS = max(3, IMAGES // 40)
CONCURRENCY = 16
CHECKOUT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


def start(photographs: Path, output: Path, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "beamscribe", "caption", "--images", str(photographs), "--output", str(output)]
    command += ["--endpoint", url, "--model", "m", "--shard-size", "64", "--price-in", "1", "--price-out", "2"]
    return subprocess.Popen(
        [*command, "--concurrency", str(CONCURRENCY), *more],
        env={**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def captions(output: Path) -> dict[str, str]:
    table = ds.dataset(output / "captions").to_table(columns=["id", "caption"])
    return dict(zip(table["id"].to_pylist(), table["caption"].to_pylist(), strict=True))


def failures(output: Path) -> list[dict[str, Any]]:
    folder = output / "failures"
    return ds.dataset(folder).to_table().to_pylist() if folder.exists() else []


def test_kills_cost_no_more_than_what_was_under_way(tmp_path: Path) -> None:
    photographs = make_photographs(tmp_path / "in", IMAGES)
    server = EndpointServer(delay_seconds=0.3)
    chance = random.Random(int(os.environ.get("BEAMSCRIBE_SEED", "0")))
    killed = 0
    with server.serving() as url:
        for kill in range(KILLS):
            running = start(photographs, tmp_path / "out", url)
            # Spread over the run, whatever is left of it.
            left = IMAGES - len({*server.answered})
            wanted = server.answers + chance.randint(1, max(1, 2 * left // (KILLS - kill + 1)))
            while server.answers < wanted and running.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.3)
            killed += running.poll() is None
            running.send_signal(signal.SIGKILL)
            running.communicate()
        time.sleep(2 * server.delay_seconds)
        given = server.answers
        last = start(photographs, tmp_path / "out", url)
        said = last.communicate()[0]
    assert last.returncode == 0, said
    assert killed >= KILLS * 3 // 4
    undisturbed = EndpointServer()
    with undisturbed.serving() as url:
        assert start(photographs, tmp_path / "undisturbed", url).wait() == 0
    assert undisturbed.answers == IMAGES
    assert captions(tmp_path / "out") == captions(tmp_path / "undisturbed")
    print(f"{IMAGES} images, {killed} kills, {given} answers before the last run, {server.answers} in all")
    print(said)
    assert server.answers / IMAGES <= 1.02 + CONCURRENCY * killed / IMAGES
    # Answers that arrived are known exactly; those that were lost with their process are estimated.
    known = next(line for line in said.splitlines() if " answers: " in line)
    arrived = int(known.split()[0].replace(",", ""))
    lost = next((line for line in said.splitlines() if "may have been answered" in line), "0")
    assert arrived <= server.answers <= arrived + int(lost.split()[0].replace(",", ""))
    cost = float(known.split("cost ")[1])
    more = float(lost.split("some ")[1].split()[0]) if "some" in lost else 0.0
    own_count = (server.tokens_in + 2 * server.tokens_out) / 1e6
    assert cost - 1e-6 <= own_count <= cost + more * 1.05 + 1e-6


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder without a disk, where there is one: on a busy disk answers take a minute until they are durable."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def test_a_tenth_of_faults_and_a_budget_of_requests(in_memory: Path) -> None:
    photographs = make_photographs(in_memory / "in", IMAGES)
    # A small part of what a machine can do, one that is busy with other things too: the budget is the bound.
    budget = 600 if IMAGES >= 500 else 240
    server = EndpointServer(fault_rate=0.1, hang_seconds=8)
    with server.serving() as url:
        running = start(
            photographs, in_memory / "out", url, "--requests-per-minute", str(budget), "--request-timeout", "4"
        )
        said = running.communicate()[0]
    assert running.returncode == 0, said
    assert server.wrong_requests == []
    found, failed = captions(in_memory / "out"), failures(in_memory / "out")
    assert len(found) + len(failed) == IMAGES
    assert len(failed) <= 0.02 * IMAGES + 2
    print(said)
    print(server.faults, len(server.times), "requests")
    # No minute, or half of a shorter run, holds more than the budget allows, and none is wasted while there is work.
    times = sorted(server.times)
    seconds = min(60.0, (times[-1] - times[0]) / 2)
    most = max(sum(begin <= moment < begin + seconds for moment in times) for begin in times)
    middle = times[len(times) // 10 : -len(times) // 5]
    rate = (len(middle) - 1) / (middle[-1] - middle[0]) * 60
    allowed = budget / 60 * seconds
    print(f"{rate:.0f} requests a minute of {budget}; {most} in {seconds:.0f} s where {allowed:.0f} may be")
    assert most <= allowed * 1.05 + 1
    assert rate >= budget * 0.9
    for path in (in_memory / "out").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
    assert KEY not in said
