"""The same corpus on every engine that is installed: equal rows, and a lost worker costs none and hangs nothing.

Flink, Spark and Prism need what `make flink-test`, `make spark-test` and `make prism-test` fetch.
`BEAMSCRIBE_ENGINE_PHOTOGRAPHS=600` captions so many photographs of Flickr8k on every engine: minutes for each.
"""

import contextlib
import gzip
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.dataset as ds
import pytest

from beamscribe import main
from beamscribe.errors import DONE, STOPPED
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage
from tests.engines.servers import (
    CHECKOUT,
    Server,
    flink_session_cluster,
    java_job_server,
    prism,
    python_job_service,
    running,
    worker_pool,
)
from tests.pipelines.fake_job import FakeJob, attempts_of, captions_of, references
from tests.pipelines.runtime.test_containers_gone_through import go as gone_through
from tests.pipelines.runtime.test_containers_gone_through import photos, rows_of

pytestmark = pytest.mark.slow

IDS = tuple(f"{number:03d}" for number in range(60))
FAILING = frozenset(IDS[::13])
SESSION = "flink session cluster"
JOB_SERVERS = {
    "flink": ("org.apache.beam.runners.flink.FlinkJobServerDriver", ["--flink-master=[local]"]),
    SESSION: ("org.apache.beam.runners.flink.FlinkJobServerDriver", []),
    "spark": ("org.apache.beam.runners.spark.SparkJobServerDriver", ["--spark-master-url=local[2]"]),
}
CLUSTERS = (*JOB_SERVERS, "prism")
PORTABLE = ("job service", *CLUSTERS)
Row = tuple[tuple[object, ...], list[float]]
RESTARTS = """
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 5
restart-strategy.fixed-delay.delay: 1 s
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines") / "log.txt"


@pytest.fixture(scope="module")
def pool(log: Path) -> Iterator[Server]:
    with worker_pool(log) as server:
        yield server


class Engine(NamedTuple):
    """An engine that runs.

    Attributes:
        flags: Beam's, for a job to go there.
        pools: where its workers come from.
    """

    flags: list[str]
    pools: tuple[Server, ...]


def portable(job_service: Server, pool: str, pools: tuple[Server, ...]) -> Engine:
    flags = [
        "--runner=PortableRunner",
        "--parallelism=2",
        f"--job_endpoint=localhost:{job_service.port}",
        "--environment_type=EXTERNAL",
        f"--environment_config={pool}",
    ]
    return Engine(flags, pools)


def installed(name: str) -> Path:
    """What an engine needs in `deploy/`; where it is not, its tests are skipped."""
    engine = name.partition(" ")[0]
    parts = CHECKOUT / "deploy" / engine / ("prism" if engine == "prism" else "jars")
    if not parts.exists():
        assert os.environ.get("BEAMSCRIBE_ENGINE") != engine, f"{parts} is not there"
        pytest.skip(f"no {parts}: make {engine}-test")
    return parts


@contextlib.contextmanager
def portable_engine(name: str, log: Path, pool: Server, *more: str) -> Iterator[Engine]:
    """An engine with a job server, and workers from pools."""
    address = f"localhost:{pool.port}"
    pools: tuple[Server, ...] = (pool,)
    with contextlib.ExitStack() as stack:
        if name == "job service":
            server = python_job_service(log)
        elif name == "prism":
            server = prism(installed(name), log)
        else:
            jars = str(installed(name))
            main, flags = JOB_SERVERS[name]
            if name == SESSION:
                cluster = stack.enter_context(flink_session_cluster(jars, log.parent / "flink", log))
                flags, address, pools = [f"--flink-master={cluster.master}"], cluster.pool, cluster.pools
            server = java_job_server(jars, main, [*flags, *more], log)
        yield portable(stack.enter_context(server), address, pools)


@pytest.fixture(scope="module", params=["in_memory", "multi_processing", *PORTABLE])
def engine(request: pytest.FixtureRequest, log: Path) -> Iterator[list[str]]:
    """Beam's flags for an engine."""
    name = request.param
    if name == "in_memory":
        yield []
    elif name == "multi_processing":
        yield ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    else:
        with portable_engine(name, log, request.getfixturevalue("pool")) as found:
            yield found.flags


def go(output: Storage, job: FakeJob, engine: list[str]) -> int:
    return launch(
        Request(
            job=job,
            corpus=distinct(references(*IDS)),
            output=output,
            fingerprint=Fingerprint({"style": "oil"}),
            details={},
            flags=JobFlags(4, None, False, "refuse", {}),
            options=parse(FlagParser(prog="beamscribe fake"), engine)[1],
        )
    )


def assert_whole(output: Storage) -> None:
    assert captions_of(output) == [(id, f"{id} in oil") for id in IDS if id not in FAILING]
    assert attempts_of(output) == [(id, 1) for id in sorted(FAILING)]
    assert verify(output).findings == ()


def test_rows_are_equal_on_every_engine(local: Storage, engine: list[str]) -> None:
    assert go(local, FakeJob(FAILING), engine) == DONE
    assert_whole(local)
    assert go(local, FakeJob(FAILING), engine) == DONE
    assert_whole(local)


@pytest.mark.nightly
def test_archives_are_spread_over_workers(tmp_path: Path, engine: list[str], request: pytest.FixtureRequest) -> None:
    for number in range(6):
        (tmp_path / f"{number}.tar.gz").write_bytes(gzip.compress(photos(10, first=10 * number)))
    source, readers = str(tmp_path / "*.tar.gz"), tmp_path / "readers"
    readers.mkdir()
    here, there = Storage(str(tmp_path / "here")), Storage(str(tmp_path / "there"))
    assert gone_through(source, here) == DONE
    assert gone_through(source, there, engine=engine, readers=str(readers)) == DONE
    assert rows_of(there) == rows_of(here)
    assert len(captions_of(there)) == 60
    assert verify(there).findings == ()
    containers, processes = zip(*(path.name.split("-") for path in readers.iterdir()), strict=True)
    assert len(containers) == len(set(containers)) == 6, "each is read by one worker"
    if request.node.callspec.params["engine"] in ("multi_processing", SESSION):
        assert len(set(processes)) == 2


@pytest.mark.parametrize("name", CLUSTERS)
def test_photographs_on_a_cluster_engine(name: str, log: Path, pool: Server, shared: Path, tmp_path: Path) -> None:
    """featurize, caption and speak of coco-mini, as typed; captions are those of the local runner."""
    coco = shared / "coco-mini"
    corpus = ["--annotations", str(coco / "annotations" / "captions_val2017.json"), "--images", str(coco / "val2017")]
    count = ["--limit", "24", "--shard-size", "8"]
    with portable_engine(name, log, pool) as engine:
        there = engine.flags
        features = ["--backbone", "efficientnet_lite2", "--output", str(tmp_path / "features")]
        assert main(["featurize", *corpus, *features, *count, *there]) == DONE
        images = ["caption", "--images", str(coco / "val2017"), *count]
        assert main([*images, "--output", str(tmp_path / "captions"), *there]) == DONE
        speech = ["--captions", str(tmp_path / "captions"), "--output", str(tmp_path / "speech"), "--shard-size", "8"]
        assert main(["speak", *speech, *there]) == DONE
    assert main([*images, "--output", str(tmp_path / "here")]) == DONE
    assert texts(tmp_path / "captions") == texts(tmp_path / "here")
    for output in ("features", "captions", "speech"):
        assert main(["verify", str(tmp_path / output)]) == DONE


@pytest.fixture(scope="module")
def photographs(shared: Path) -> list[str]:
    """The flags of a corpus, as many photographs as are asked for."""
    if not (count := os.environ.get("BEAMSCRIBE_ENGINE_PHOTOGRAPHS")):
        pytest.skip("minutes for each engine: BEAMSCRIBE_ENGINE_PHOTOGRAPHS=600")
    return ["--images", str(shared / "flickr8k" / "images"), "--limit", count, "--shard-size", "64"]


@pytest.fixture(scope="module")
def captioned_here(photographs: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    output = tmp_path_factory.mktemp("here")
    assert main(["caption", *photographs, "--output", str(output)]) == DONE
    return rows(output)


def test_rows_of_photographs_are_equal_on_every_engine(
    photographs: list[str], captioned_here: list[Row], engine: list[str], tmp_path: Path
) -> None:
    assert main(["caption", *photographs, "--output", str(tmp_path), *engine]) == DONE
    assert_equal_rows(tmp_path, captioned_here)


@pytest.mark.parametrize("name", PORTABLE)
def test_a_command_that_lost_its_workers_ends_in_two_minutes(
    photographs: list[str], captioned_here: list[Row], name: str, log: Path, pool: Server, tmp_path: Path
) -> None:
    output = Storage(str(tmp_path))
    command = [sys.executable, "-m", "beamscribe", "caption", *photographs, "--output", str(tmp_path)]
    with portable_engine(name, log, pool) as engine, running([*command, *engine.flags], log) as process:
        kill_workers(output, engine, [])
        assert process.wait(timeout=120) == STOPPED
    assert main(["caption", *photographs, "--output", str(tmp_path)]) == DONE
    assert_equal_rows(tmp_path, captioned_here)


def assert_equal_rows(output: Path, captioned_here: list[Row]) -> None:
    found = rows(output)
    assert [facts for facts, _ in found] == [facts for facts, _ in captioned_here]
    for (_, scores), (_, scores_here) in zip(found, captioned_here, strict=True):
        assert scores == pytest.approx(scores_here, abs=1e-4)
    assert main(["verify", str(output)]) == DONE


def rows(output: Path) -> list[Row]:
    """What equal rows have in common (ids, texts, facts), and their scores."""
    table = ds.dataset(output / "captions").to_table().sort_by("id")
    return [
        (
            (row["id"], row["sha256"], row["width"], row["height"], *(one["caption"] for one in row["alternatives"])),
            [one["score"] for one in row["alternatives"]],
        )
        for row in table.to_pylist()
    ]


def texts(output: Path) -> list[tuple[str, str, str]]:
    table = ds.dataset(output / "captions").to_table(columns=["id", "sha256", "caption"])
    return sorted(tuple(row.values()) for row in table.to_pylist())


def kill_workers(output: Storage, engine: Engine, killed: list[int]) -> None:
    """Waits until some shards are committed, and kills whoever works."""
    while len(output.files("captions")) < 3:
        time.sleep(0.05)
    for pool in engine.pools:
        for worker in pool.workers():
            worker.kill()
            killed.append(worker.pid)


def go_and_kill(output: Storage, engine: Engine) -> int:
    killed: list[int] = []
    killer = threading.Thread(target=kill_workers, args=(output, engine, killed))
    killer.start()
    code = go(output, FakeJob(FAILING, naps_seconds=0.1), engine.flags)
    killer.join()
    assert killed
    return code


@pytest.mark.nightly
@pytest.mark.parametrize("name", PORTABLE)
def test_a_run_that_lost_its_worker_ends_and_the_next_one_does_the_rest(
    local: Storage, log: Path, pool: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamscribe.pipelines.commits.liveness.LOST_SECONDS", 6.0)
    with portable_engine(name, log, pool) as engine:
        began = time.monotonic()
        assert go_and_kill(local, engine) == STOPPED
        assert time.monotonic() - began < 60
        assert len(captions_of(local)) < len(IDS) - len(FAILING)
    # An engine that hangs holds on to its own; another one continues.
    assert go(local, FakeJob(FAILING), []) == DONE
    assert_whole(local)


def test_flink_starts_a_lost_worker_again(local: Storage, log: Path, pool: Server, tmp_path: Path) -> None:
    (tmp_path / "flink-conf.yaml").write_text(RESTARTS)
    with portable_engine("flink", log, pool, f"--flink-conf-dir={tmp_path}") as engine:
        assert go_and_kill(local, engine) == DONE
    assert_whole(local)
