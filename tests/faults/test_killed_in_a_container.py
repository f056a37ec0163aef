"""`kill -9` in the middle of an archive that is gone through."""

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beamscribe.errors import DONE
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.storage.storage import Storage
from tests.documents import CHECKOUT
from tests.pipelines.runtime.test_containers_gone_through import go, photos, rows_of

KILLS = 3
SLOWLY = """
import sys, time
from beamscribe.storage.storage import Storage
from tests.pipelines.runtime.test_containers_gone_through import go
slow = {f"{number:03}.jpg": lambda: time.sleep(0.1) for number in range(1000)}
sys.exit(go(sys.argv[1], Storage(sys.argv[2]), met=slow, shard_size=5))
"""


@pytest.mark.slow
def test_rows_are_those_of_a_run_that_is_left_alone(tmp_path: Path) -> None:
    path, output, alone = (
        tmp_path / "photos.tar.gz",
        Storage(str(tmp_path / "output")),
        Storage(str(tmp_path / "alone")),
    )
    path.write_bytes(gzip.compress(photos(60)))
    assert go(str(path), alone, shard_size=5) == DONE
    for _ in range(KILLS):
        before = len(output.files(RECEIPTS))
        process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(path), output.path("")], cwd=CHECKOUT)
        until = time.monotonic() + 300
        while process.poll() is None and len(output.files(RECEIPTS)) == before and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.25)
        assert process.poll() is None, "it was to be killed in the middle"
        process.kill()
        process.wait()
        assert before < len(output.files(RECEIPTS)) < 12
    assert go(str(path), output, shard_size=5) == DONE
    assert rows_of(output) == rows_of(alone)
    assert verify(output) == (60, 0, 0, ())
    assert len(output.files(RECEIPTS)) == 12, "what was committed before a kill was not done again"
    assert not [name for name in os.listdir(tmp_path) if name not in ("photos.tar.gz", "output", "alone")]
