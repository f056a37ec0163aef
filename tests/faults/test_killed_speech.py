"""`kill -9` while captions are spoken, in every layout: what was committed is never spoken again."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.pipelines.runtime.flags.speak import LAYOUTS
from beamscribe.pipelines.speech.layout import CONTAINERS
from beamscribe.storage.storage import Storage

pytestmark = pytest.mark.slow

IMAGES, TEXTS, SHARD_SIZE = 240, 80, 8


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fifth of the images has one caption, so that it is spoken before the shards that need it."""
    texts = [f"A dog runs after ball {number % TEXTS}." if number % 5 else "A dog." for number in range(IMAGES)]
    path = tmp_path_factory.mktemp("captions") / "captions.parquet"
    pq.write_table(
        pa.table({"image_uri": [f"s3://b/{number}.jpg" for number in range(IMAGES)], "caption": texts}), path
    )
    return path


def stamps(output: Path) -> dict[str, tuple[int, int]]:
    """Audio files with inode and time: one that is written again changes them."""
    found = {str(path): path.stat() for path in (output / "audio").rglob("[!.]*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def times_spoken(output: Path, layout: str) -> Counter[str]:
    """How many audio objects there are of each key."""
    if layout == "files":
        return Counter(path.stem for path in (output / "audio").rglob("*.flac"))
    storage = Storage(str(output))
    return Counter(
        row.audio_key
        for entry in storage.walk("audio")
        for row in CONTAINERS[layout].decode(storage.read(entry.name), entry.name)
    )


@pytest.mark.parametrize(
    "layout", [pytest.param(one, marks=[pytest.mark.nightly] if one != "tar" else []) for one in LAYOUTS]
)
def test_what_was_spoken_is_never_spoken_again(captions: Path, tmp_path: Path, layout: str) -> None:
    command = ["speak", "--captions", str(captions), "--output", str(tmp_path), f"--layout={layout}", "--format=flac"]
    command += [f"--shard-size={SHARD_SIZE}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "beamscribe", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(stamps(tmp_path)) < 4 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    there = stamps(tmp_path)
    assert there
    assert main(command) == DONE
    assert there.items() <= stamps(tmp_path).items()
    rows = ds.dataset(tmp_path / "index").to_table().to_pylist()
    keys = {row["audio_key"] for row in rows}
    assert len(rows) == IMAGES
    assert len(keys) == len({row["caption"] for row in rows})
    assert times_spoken(tmp_path, layout) == Counter(keys)
    assert main(["verify", str(tmp_path)]) == DONE
