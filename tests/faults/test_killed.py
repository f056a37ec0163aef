"""Jobs that are killed or interrupted half way, in processes of their own, and continued by the same command."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.dataset as ds
import pytest

from beamscribe import main
from beamscribe.errors import DONE, INTERRUPTED, REFUSED
from beamscribe.model.bundle import Bundle

pytestmark = pytest.mark.slow

COUNT = 96


@pytest.fixture(scope="module")
def photographs(made_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made pictures four times over, under other names."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in (made_images / "images").iterdir():
        for copy in range(4):
            shutil.copy(path, folder / f"{copy}-{path.name}")
    return folder


@pytest.fixture(scope="module")
def undisturbed(photographs: Path, untrained_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict:
    output = tmp_path_factory.mktemp("undisturbed")
    assert main(command(photographs, untrained_bundle, output)) == DONE
    return captions(output)


def command(photographs: Path, bundle: Bundle, output: Path) -> list[str]:
    flags = ["--shard-size", "8", "--batch-size", "8", "--max-length", "8"]
    return ["caption", "--images", str(photographs), "--model", bundle.path, "--output", str(output), *flags]


def captions(output: Path) -> dict:
    table = ds.dataset(output / "captions").to_table()
    return {row["id"]: (row["caption"], row["sha256"]) for row in table.to_pylist()}


def start_and_wait_for_a_shard(arguments: list[str], output: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "beamscribe", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background makes them, and so this process, deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((output / "captions").glob("*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_killed_and_continued_equals_undisturbed(
    photographs: Path, untrained_bundle: Bundle, undisturbed: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(photographs, untrained_bundle, tmp_path)
    process = start_and_wait_for_a_shard(arguments, tmp_path)
    process.kill()
    process.communicate()
    done = len(captions(tmp_path))
    assert 0 < done < COUNT

    assert main(arguments) == DONE
    assert f"this run did {COUNT - done} of {COUNT}" in capsys.readouterr().out
    assert captions(tmp_path) == undisturbed
    assert main(["verify", str(tmp_path)]) == DONE

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "captions").iterdir()}
    assert main(arguments) == DONE
    assert f"this run did 0 of {COUNT}" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "captions").iterdir()} == before


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        pytest.param(signal.SIGINT, [], marks=pytest.mark.nightly),
        pytest.param(signal.SIGTERM, [], marks=pytest.mark.nightly),
        pytest.param(
            signal.SIGTERM,
            ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
            marks=pytest.mark.nightly,
        ),
    ],
    ids=["ctrl-c", "sigterm", "sigterm-worker-processes"],
)
def test_interrupted_stops_in_time_and_says_how_to_continue(
    number: signal.Signals,
    workers: list[str],
    photographs: Path,
    untrained_bundle: Bundle,
    undisturbed: dict,
    tmp_path: Path,
) -> None:
    arguments = [*command(photographs, untrained_bundle, tmp_path), *workers]
    process = start_and_wait_for_a_shard(arguments, tmp_path)
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == bool(workers)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode == INTERRUPTED
    assert "Continue with:" in errors
    assert str(tmp_path) in errors.split("Continue with:")[1]
    assert "Traceback" not in errors
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not list(tmp_path.rglob(".*.tmp"))
    assert not (tmp_path / "_beamscribe" / "lease.json").exists()
    assert main(arguments) == DONE
    assert captions(tmp_path) == undisturbed


@pytest.mark.nightly
def test_a_second_run_is_refused_and_harms_nothing(
    photographs: Path,
    untrained_bundle: Bundle,
    undisturbed: dict,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = command(photographs, untrained_bundle, tmp_path)
    process = start_and_wait_for_a_shard(arguments, tmp_path)
    assert main(arguments) == REFUSED
    assert "is being written by process" in capsys.readouterr().err
    assert process.wait(timeout=120) == DONE
    process.communicate()
    assert captions(tmp_path) == undisturbed
