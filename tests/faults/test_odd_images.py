"""A corpus of which half is bad or odd gives the good half what it would have got alone, in the same memory.

BEAMSCRIBE_ODD_IMAGES says how many they are; docs/reliability.md has what 500 gave.
"""

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
from tests.faults.odd_images import COUNT, odd_images

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

GOOD = COUNT


def peak_mib(command: list[str]) -> float:
    """Runs a command to its end; gives the most memory that its process had."""
    process = subprocess.Popen([sys.executable, "-m", "beamscribe", *command], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == DONE
    return usage.ru_maxrss / 1024


def captions(output: Path) -> dict[str, tuple[str, float]]:
    rows = ds.dataset(output / "captions").to_table().to_pylist()
    return {Path(row["id"]).name: (row["caption"], round(row["score"], 3)) for row in rows}


def test_half_of_the_corpus_is_odd(untrained_bundle: Bundle, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for folder in ("clean", "mixed"):
        (tmp_path / folder).mkdir()
    for number in range(GOOD):
        height, width = random.integers(200, 500, 2)
        picture = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
        picture.save(tmp_path / "clean" / f"good-{number:03d}.jpg")
        os.link(tmp_path / "clean" / f"good-{number:03d}.jpg", tmp_path / "mixed" / f"good-{number:03d}.jpg")
    for name, data in odd_images():
        (tmp_path / "mixed" / name).write_bytes(data)

    peaks = {}
    for folder in ("clean", "mixed"):
        command = ["caption", "--images", str(tmp_path / folder), "--model", untrained_bundle.path]
        command += ["--max-length", "6", "--beam-size", "1", "--output", str(tmp_path / f"{folder}-output")]
        peaks[folder] = peak_mib(command)

    clean, mixed = captions(tmp_path / "clean-output"), captions(tmp_path / "mixed-output")
    assert len(clean) == GOOD
    assert {name: row for name, row in mixed.items() if name.startswith("good")} == clean
    failures = ds.dataset(tmp_path / "mixed-output" / "failures").to_table().to_pylist()
    assert len(mixed) + len(failures) == GOOD + COUNT
    assert {row["stage"] for row in failures} == {"decode"}
    assert COUNT / 5 < len(failures) < COUNT * 4 / 5  # some are odd, not bad
    assert main(["verify", str(tmp_path / "mixed-output")]) == DONE
    print(f"{len(failures)} failures; peak {peaks['clean']:.0f} MiB clean, {peaks['mixed']:.0f} MiB mixed")
    assert peaks["mixed"] < 1.2 * peaks["clean"]
