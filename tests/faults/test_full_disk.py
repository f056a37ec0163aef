"""A disk that is full: a clear error, what is committed stays, and the same command continues once there is room."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from beamscribe import main
from beamscribe.errors import DONE, STOPPED
from beamscribe.model.bundle import Bundle

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

KIB = 256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of a few pages; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={KIB}k", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_continues_after_space_is_freed(made_images: Path, untrained_bundle: Bundle, small_disk: Path) -> None:
    output, ballast = small_disk / "output", small_disk / "ballast"
    command = ["caption", "--images", str(made_images / "images"), "--model", untrained_bundle.path]
    command += ["--output", str(output), "--shard-size", "4", "--batch-size", "4", "--max-length", "6"]
    # Room for the bookkeeping and the first shards, not for all.
    ballast.write_bytes(os.urandom((KIB - 44) * 1024))
    ended = subprocess.run([sys.executable, "-m", "beamscribe", *command], capture_output=True, text=True, check=False)
    assert ended.returncode == STOPPED, ended.stderr
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    committed = ds.dataset(output / "captions").to_table().to_pylist() if (output / "captions").exists() else []
    assert 0 < len(committed) < 24

    ballast.unlink()
    assert main(command) == DONE
    rows = {row["id"]: row for row in ds.dataset(output / "captions").to_table().to_pylist()}
    assert len(rows) == 24
    assert all(rows[row["id"]] == row for row in committed)
    assert main(["verify", str(output)]) == DONE
