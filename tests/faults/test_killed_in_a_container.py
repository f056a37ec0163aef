"""`kill -9` in the middle of an archive that is gone through."""

import contextlib
import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beamscribe.errors import DONE
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.storage.storage import Storage
from tests.documents import CHECKOUT
from tests.pipelines.runtime.test_containers_gone_through import go, photos, rows_of, tabled, zipped
from tests.pipelines.sources.test_remote_reading import store

KILLS = 3
SLOWLY = """
import sys, time
from beamscribe.storage.storage import Storage
from tests.pipelines.runtime.test_containers_gone_through import go
slow = {f"{number:03}.jpg": lambda: time.sleep(0.1) for number in range(1000)}
sys.exit(go(sys.argv[1], Storage(sys.argv[2]), met=slow, shard_size=5))
"""


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Stores photographs where workers go through their archive, for other processes too; gives its URI."""
    with contextlib.ExitStack() as stack:

        def store_it(name: str) -> str:
            if name.endswith(".gz"):
                (tmp_path / name).write_bytes(gzip.compress(photos(60)))
                return str(tmp_path / name)
            # Another test's server is gone.
            pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
            (tmp_path / "bucket").mkdir()
            pack = tabled if name.endswith(".parquet") else zipped
            (tmp_path / "bucket" / name).write_bytes(pack(photos(60)))
            options, _ = stack.enter_context(store(tmp_path / "bucket"))
            monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
            return f"s3://bucket/{name}"

        yield store_it


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.zip", "photos.parquet"])
def test_rows_are_those_of_a_run_that_is_left_alone(name: str, put: Callable[[str], str], tmp_path: Path) -> None:
    uri, output, alone = put(name), Storage(str(tmp_path / "output")), Storage(str(tmp_path / "alone"))
    assert go(uri, alone, shard_size=5) == DONE
    for _ in range(KILLS):
        before = len(output.files(RECEIPTS))
        process = subprocess.Popen([sys.executable, "-c", SLOWLY, uri, output.path("")], cwd=CHECKOUT)
        until = time.monotonic() + 300
        while process.poll() is None and len(output.files(RECEIPTS)) == before and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.25)
        assert process.poll() is None, "it was to be killed in the middle"
        process.kill()
        process.wait()
        assert before < len(output.files(RECEIPTS)) < 12
    assert go(uri, output, shard_size=5) == DONE
    assert rows_of(output) == rows_of(alone)
    assert verify(output) == (60, 0, 0, ())
    assert output.files(FOLDER), "it was gone through"
    assert len(output.files(RECEIPTS)) == 12, "what was committed before a kill was not done again"
    assert not [file for file in os.listdir(tmp_path) if file not in ("photos.tar.gz", "bucket", "output", "alone")]
