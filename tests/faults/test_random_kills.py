"""`kill -9` at random moments of all jobs and of the commands that read their outputs, continued by the same command.

BEAMSCRIBE_KILLS says how often in all; docs/reliability.md has what 25 gave.
"""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE
from beamscribe.model.bundle import Bundle, BundleError, open_bundle
from beamscribe.model.examples import decode_file

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

KILLS = int(os.environ.get("BEAMSCRIBE_KILLS", "3"))
COPIES = 4
"""Of the 24 made pictures."""


@pytest.fixture(scope="module")
def photographs(made_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made pictures four times over, with annotations of all."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "images").mkdir()
    original = json.loads((made_images / "captions.json").read_text())
    images, annotations = [], []
    for copy in range(COPIES):
        for image in original["images"]:
            name, number = f"{copy}-{image['file_name']}", copy * 100 + image["id"]
            shutil.copy(made_images / "images" / image["file_name"], folder / "images" / name)
            images.append({**image, "id": number, "file_name": name})
            annotations.append({"id": number, "image_id": number, "caption": f"A picture of {number}."})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def features_of(output: Path) -> dict[str, Any]:
    examples = [one for path in (output / "features").iterdir() for one in decode_file(path.read_bytes(), path.name)]
    found = {
        one.id: ((one.sha256, one.captions), np.frombuffer(one.features, "<f2").astype(np.float32)) for one in examples
    }
    assert len(found) == len(examples)
    return found


def captions_of(output: Path) -> dict[str, Any]:
    rows = ds.dataset(output / "captions").to_table().to_pylist()
    assert len(rows) == len({row["id"] for row in rows})
    return {row["id"]: ((row["caption"], row["sha256"]), np.array([row["score"]])) for row in rows}


def speech_of(output: Path) -> dict[str, Any]:
    rows = ds.dataset(output / "index").to_table().to_pylist()
    assert len(rows) == len({row["id"] for row in rows})
    return {row["id"]: ((row["caption"], (output / row["audio_uri"]).read_bytes()), np.zeros(0)) for row in rows}


def check_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Rows are equal; their numbers may differ by what float16 does not hold, since batches are other ones."""
    assert {id: exact for id, (exact, _) in found.items()} == {id: exact for id, (exact, _) in expected.items()}
    for id, (_, numbers) in found.items():
        np.testing.assert_allclose(numbers, expected[id][1], rtol=2e-3, atol=1e-4, err_msg=id)


@pytest.fixture(scope="module")
def jobs(
    photographs: Path, untrained_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[str], Callable[[Path], dict[str, Any]], dict[str, Any], float]]:
    """Of each job its command without `--output`, how to read it, what an undisturbed run gives, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    small = ["--shard-size", "4"]
    commands: dict[str, tuple[list[str], Callable[[Path], dict[str, Any]]]] = {
        "featurize": (
            ["featurize", "--annotations", str(photographs / "captions.json"), "--images", str(photographs / "images")]
            + ["--backbone", "efficientnet_lite2", "--batch-size", "4", *small],
            features_of,
        ),
        "caption": (
            ["caption", "--images", str(photographs / "images"), "--model", untrained_bundle.path]
            + ["--max-length", "8", "--batch-size", "4", *small],
            captions_of,
        ),
        "speak": (["speak", "--captions", str(folder / "caption"), *small], speech_of),
    }
    found = {}
    for name, (command, read) in commands.items():
        began = time.monotonic()
        run([*command, "--output", str(folder / name)])
        found[name] = (command, read, read(folder / name), time.monotonic() - began)
    return found


def run(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "beamscribe", *command], capture_output=True, text=True, check=False)
    assert done.returncode == DONE, done.stderr


@pytest.mark.parametrize(("name", "share"), [("featurize", 0.4), ("caption", 0.4), ("speak", 0.2)])
def test_killed_again_and_again(jobs: dict[str, Any], name: str, share: float, tmp_path: Path) -> None:
    command, read, expected, seconds = jobs[name]
    moments = random.Random(name)
    left = max(1, round(KILLS * share))
    for number in itertools.count():
        output = tmp_path / str(number)
        this = [*command, "--output", str(output)]
        while left and not done_before_killed(this, moments.uniform(0.2, 1.0) * seconds):
            left -= 1
        run(this)
        check_equal(read(output), expected)
        assert main(["verify", str(output)]) == DONE
        assert not [path for path in output.rglob(".*") if path.is_file()]
        assert not list((output / "_beamscribe" / "started").iterdir())
        if not left:
            return


def done_before_killed(command: list[str], seconds: float) -> bool:
    """Runs a command and kills it after a time; True if it was done by then, so that there was nothing to kill."""
    process = subprocess.Popen(
        [sys.executable, "-m", "beamscribe", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return process.wait(seconds) == DONE
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()


def whole_file(output: Path) -> bytes | None:
    return output.read_bytes() if output.exists() else None


def whole_scores(output: Path) -> Any:
    """Scores and rows; the rows are written first, so that scores without rows are no evaluation."""
    if not output.exists():
        return None
    scores = json.loads(output.read_bytes())
    return scores.get("metrics", scores), ds.dataset(output.with_suffix(".parquet")).count_rows()


def whole_page(output: Path) -> Any:
    if not output.exists():
        return None
    page = output.read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    return page.count("A ")


def whole_bundle(output: Path) -> Any:
    """The sizes of a bundle's files: what is no bundle is refused by name, and then started anew."""
    try:
        bundle = open_bundle(str(output))
        bundle.check()
    except BundleError:
        return None
    return {name: entry["size"] if isinstance(entry, dict) else entry for name, entry in bundle.config["files"].items()}


SECONDS_OF_A_START = 3.0


@pytest.fixture(scope="module")
def readers(
    jobs: dict[str, Any], photographs: Path, untrained_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[str], str, Callable[[Path], Any]]]:
    """Of each command its flags without `--output`, the name of its output, and how to read it."""
    undisturbed = Path(jobs["speak"][0][2]).parent
    captions, annotations = str(undisturbed / "caption"), str(photographs / "captions.json")
    train = ["train", "--features", str(undisturbed / "featurize"), "--epochs", "2", "--batch-size", "8"]
    quantize = ["quantize", "--model", untrained_bundle.path, "--calibration", str(photographs / "images")]
    return {
        "train": ([*train, "--vocabulary-size", "64"], "bundle", whole_bundle),
        "evaluate": (["evaluate", "--captions", captions, "--annotations", annotations], "scores.json", whole_scores),
        "export": (["export", captions, "--to", "csv"], "captions.csv", whole_file),
        "report": (["report", captions], "report.html", whole_page),
        "quantize": ([*quantize, "--calibration-images", "4"], "int8", whole_bundle),
    }


READERS = ("train", "export", "evaluate", "report", "quantize")
"""Commands that read an output; without more kills than usual two of them are tried, since each start takes seconds."""


@pytest.mark.parametrize("name", READERS if KILLS > 3 else READERS[:2])
def test_what_reads_outputs_goes_on_or_starts_anew(readers: dict[str, Any], name: str, tmp_path: Path) -> None:
    if name == "quantize":
        pytest.importorskip("nncf")
    flags, file_name, read = readers[name]
    began = time.monotonic()
    (tmp_path / "undisturbed").mkdir()
    code = ended(flags, tmp_path / "undisturbed" / file_name)
    # A captioner of a few made pictures is worse than word frequencies, which is told and no matter here.
    assert code in (DONE, CHECK_FAILED)
    seconds = time.monotonic() - began
    expected = read(tmp_path / "undisturbed" / file_name)
    assert expected
    moments = random.Random(name)
    for number in range(max(1, round(KILLS * 0.2))):
        folder = tmp_path / str(number)
        folder.mkdir()
        this = [*flags, "--output", str(folder / file_name)]
        # The second half of a command writes, and its first seconds import.
        killed = not done_before_killed(this, moments.uniform(min(SECONDS_OF_A_START, seconds / 2), seconds))
        left = read(folder / file_name)
        # What is there is whole: `read` raises otherwise.
        assert left is None or name in ("train", "quantize", "report") or left == expected
        if killed and left is None:
            assert ended(flags, folder / file_name) == code
        found = read(folder / file_name)
        assert found.keys() == expected.keys() if name in ("train", "quantize") else found == expected
        assert not [path for path in folder.glob(".*") if path.is_file()]


def ended(flags: list[str], output: Path) -> int:
    command = [sys.executable, "-m", "beamscribe", *flags, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (DONE, CHECK_FAILED), done.stderr
    return done.returncode
