"""`kill -9` at random moments of all three jobs, each continued by the same command.

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

import pyarrow.dataset as ds
import pytest

from beamscribe import main
from model.bundle import Bundle
from model.examples import decode_file
from schemas.command import DONE

pytestmark = pytest.mark.slow

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
    found = {one.id: (one.features, one.sha256, one.captions) for one in examples}
    assert len(found) == len(examples)
    return found


def captions_of(output: Path) -> dict[str, Any]:
    rows = ds.dataset(output / "captions").to_table().to_pylist()
    assert len(rows) == len({row["id"] for row in rows})
    return {row["id"]: (row["caption"], row["sha256"], round(row["score"], 4)) for row in rows}


def speech_of(output: Path) -> dict[str, Any]:
    rows = ds.dataset(output / "index").to_table().to_pylist()
    assert len(rows) == len({row["id"] for row in rows})
    return {row["id"]: (row["caption"], (output / row["audio_uri"]).read_bytes()) for row in rows}


@pytest.fixture(scope="module")
def jobs(
    photographs: Path, untrained_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[str], Callable[[Path], dict[str, Any]], dict[str, Any], float]]:
    """Of each job its command without `--output`, how to read it, what an undisturbed run gives, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    small = ["--shard-size", "4"]
    commands = {
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
        assert read(output) == expected
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
