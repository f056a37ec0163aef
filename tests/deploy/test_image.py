"""Jobs on workers in the container image: equal rows, without root. `make image-test` builds it and runs this."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from beamscribe.command_line import main
from beamscribe.errors import DONE
from tests.engines.servers import CHECKOUT, Server, serving
from tests.engines.test_engines import assert_equal_rows, portable_engine, rows

pytestmark = pytest.mark.slow

IMAGE = os.environ.get("BEAMSCRIBE_IMAGE", "")
RUN = str(CHECKOUT / "deploy" / "image" / "run.sh")
POOL_PORT = 50000
"""Beam's boot program listens on this one."""
USER = 10001


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that this process and the user of the image both write to."""
    folder = tmp_path_factory.mktemp("image")
    for path in (folder, *folder.parents):
        if path.owner() == folder.owner() and path.stat().st_mode & 0o005 != 0o005 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    before = os.umask(0)
    folder.chmod(0o777)
    yield folder
    os.umask(before)


@pytest.fixture(scope="module")
def pool(work: Path, shared: Path) -> Iterator[Server]:
    """The image as Beam's worker pool."""
    if not IMAGE:
        pytest.skip("make image-test builds the image and names it in BEAMSCRIBE_IMAGE")
    log = work / "pool.txt"
    os.environ["RUN_FLAGS"] = f"--volume {work}:{work} --volume {shared}:{shared}:ro"
    try:
        command = ["sh", "-c", f"umask 0; exec {RUN} {IMAGE} /opt/apache/beam/boot --worker_pool"]
        with serving(command, POOL_PORT, log, timeout_seconds=600) as server:
            yield server
            for process in (*server.workers(), server.process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            # Where buildah runs it, run.sh takes the container away, which is a copy of the image.
            psutil.wait_procs([server.process], timeout=120)
    finally:
        del os.environ["RUN_FLAGS"]


def test_rows_of_the_image_are_equal(pool: Server, work: Path, shared: Path) -> None:
    """A job on Flink and one on Beam's job service, whose workers are in the image, against the local runner."""
    os.environ["RUN_FLAGS"] = ""
    owned = [process for process in psutil.process_iter(["cmdline", "uids"]) if "--worker_pool" in str(process.info)]
    assert owned
    if os.getuid() == 0:
        pools = [process for process in owned if "boot" in (process.info["cmdline"] or [""])[0]]
        assert {process.info["uids"].real for process in pools} == {USER}
    images = str(shared / "coco-mini" / "val2017")
    command = ["caption", "--images", images, "--limit", "16", "--shard-size", "8"]
    assert main([*command, "--output", str(work / "here")]) == DONE
    here = rows(work / "here")
    assert len(here) == 16
    address = Server(pool.process, POOL_PORT)
    for name in ("job service", "flink"):
        output = work / name.replace(" ", "-")
        with portable_engine(name, work / "engine.txt", address) as engine:
            assert main([*command, "--output", str(output), *engine.flags]) == DONE
        assert_equal_rows(output, here)
        # What workers committed belongs to the image's user.
        if os.getuid() == 0:
            assert {path.stat().st_uid for path in (output / "captions").glob("*.parquet")} == {USER}


def test_the_image_holds_what_it_should(pool: Server) -> None:
    os.environ["RUN_FLAGS"] = ""
    code = (
        "import openvino, os; from beamscribe.model.pretrained import EMBEDDED as e; print(os.getuid(), os.listdir(e))"
    )
    told = subprocess.run([RUN, IMAGE, "python", "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"{USER} [")
    assert "config.json" in told
