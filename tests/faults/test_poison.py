"""Images that kill the decoder, and images that hang it: the same command is run again, three times at most."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.model.bundle import Bundle
from tests.faults.poison import KILLS, SLEEPS, poisoned_python_path

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

GOOD, RUNS = 20, 3


GUILTY = {"kills": (KILLS, "DecoderDied"), "sleeps": (SLEEPS, "DecoderHung")}
"""Name → size, and what its failure row says."""


def photographs(folder: Path, guilty: tuple[str, ...]) -> None:
    random = np.random.default_rng(0)
    sizes = {f"good-{number:02d}": (40, 30) for number in range(GOOD)}
    sizes |= {name: GUILTY[name][0] for name in guilty}
    for name, (width, height) in sizes.items():
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{name}.png")


# With two workers the one that is left would wait for the other for ever, so the launcher ends the run.
@pytest.mark.parametrize(("workers", "guilty", "stall_timeout"), [(1, ("kills", "sleeps"), 15), (2, ("kills",), 120)])
def test_the_guilty_are_failure_rows_and_every_other_image_has_its_caption(
    untrained_bundle: Bundle, tmp_path: Path, workers: int, guilty: tuple[str, ...], stall_timeout: int
) -> None:
    images, output = tmp_path / "images", tmp_path / "output"
    images.mkdir()
    photographs(images, guilty)
    command = ["caption", "--images", str(images), "--model", untrained_bundle.path, "--output", str(output)]
    command += ["--shard-size", "8", "--batch-size", "8", "--max-length", "6", "--stall-timeout", str(stall_timeout)]
    if workers > 1:
        command += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    environment = os.environ | {"PYTHONPATH": poisoned_python_path()}
    codes, told = [], ""
    while DONE not in codes:
        assert len(codes) < RUNS, told
        ended = subprocess.run(
            [sys.executable, "-m", "beamscribe", *command], env=environment, capture_output=True, text=True, check=False
        )
        codes.append(ended.returncode)
        told += ended.stderr
    assert len(codes) > 1  # the first run cannot have survived
    captions = {row["id"].rsplit("/", 1)[-1] for row in ds.dataset(output / "captions").to_table().to_pylist()}
    assert captions == {f"good-{number:02d}.png" for number in range(GOOD)}
    failures = ds.dataset(output / "failures").to_table().to_pylist()
    found = {Path(row["id"]).stem: row["error_type"] for row in failures}
    assert found == {name: GUILTY[name][1] for name in guilty}
    assert main(["verify", str(output)]) == DONE
