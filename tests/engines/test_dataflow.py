"""The job that Dataflow would be sent, made without an account: nothing is asked of the network."""

import dataclasses
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import environments

import beamscribe
from beamscribe.errors import DONE, REFUSED, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.caption import CaptionJob
from beamscribe.pipelines.captioners.bundle import BundleSource
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.commits.lease import LeaseLostError
from beamscribe.pipelines.commits.liveness import STARTED
from beamscribe.pipelines.commits.pending import PENDING, CommitShards, ReadPending
from beamscribe.pipelines.commits.staged_lease import confirm_lease, give_back, staged_token
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.runners import is_elsewhere, processes_a_machine, runner_named
from beamscribe.pipelines.runtime.running import build, refuse_local
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage
from tests.engines.servers import CHECKOUT
from tests.pipelines.fake_job import FakeJob, attempts_of, captions_of, contents, run_of

pytestmark = pytest.mark.slow

IMAGE = "europe-docker.pkg.dev/project/beamscribe/worker:0.1.0"
COMMON = [
    "--runner=DataflowRunner",
    "--project=project",
    "--region=europe-west4",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
    "--job_name=beamscribe-caption",
    f"--sdk_container_image={IMAGE}",
    "--sdk_location=container",
    "--machine_type=n2-standard-8",
    "--number_of_worker_harness_threads=2",
    "--max_num_workers=40",
]
GPU = [
    "--machine_type=n1-standard-8",
    "--dataflow_service_options=worker_accelerator=type:nvidia-tesla-t4;count:1;install-nvidia-driver",
    "--experiments=no_use_multiple_sdk_containers",
]


def template(staged: dict[str, bytes], *flags: str) -> dict[str, Any]:
    asked = [*COMMON, *flags, "--no_auth", "--template_location=gs://bucket/templates/caption"]
    parsed = options.parse(FlagParser(prog="beamscribe caption"), asked)[1]
    assert is_elsewhere(parsed)
    output = Storage("gs://bucket/captions")
    job = CaptionJob(BundleSource("gs://bucket/bundle", 3, 24, 32), Reading({}))
    pipeline = beam.Pipeline(options=parsed)
    build(pipeline, ["_beamscribe/pending/00000.json"], ReadPending(output), CommitShards(job, run_of(output)))
    pipeline.run()
    return json.loads(staged["caption"])


def test_the_template_says_what_was_asked(staged: dict[str, bytes]) -> None:
    job = template(staged)
    assert (job["name"], job["type"]) == ("beamscribe-caption", "JOB_TYPE_BATCH")
    environment = job["environment"]
    [pool] = environment["workerPools"]
    assert pool["machineType"] == "n2-standard-8"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 40
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]
    names = {package["name"] for package in pool.get("packages", [])}
    # Everything is in the image; a pickled main session would be what cannot be unpickled elsewhere.
    assert not any("session" in name or name.endswith((".whl", ".tar.gz")) for name in names)
    asked = environment["sdkPipelineOptions"]["options"]
    assert asked["save_main_session"] is False
    assert asked["number_of_worker_harness_threads"] == 2
    assert asked["sdk_container_image"] == IMAGE


def test_the_template_of_a_gpu_job(staged: dict[str, bytes]) -> None:
    environment = template(staged, *GPU)["environment"]
    [pool] = environment["workerPools"]
    assert pool["machineType"] == "n1-standard-8"
    assert any("worker_accelerator=type:nvidia-tesla-t4" in option for option in environment["serviceOptions"])
    # One process a machine, since the GPU's memory holds one model.
    assert "no_use_multiple_sdk_containers" in environment["experiments"]


def test_steps_keep_their_names(staged: dict[str, bytes]) -> None:
    """People watch them, and metrics stand under them."""
    template(staged)
    assert {"pipeline.pb"} <= staged.keys()
    for step in (b"Pending/Read", b"Pending/Spread", b"CommitShards/Commit"):
        assert step in staged["pipeline.pb"]


def test_a_dry_run_asks_nobody(staged: dict[str, bytes]) -> None:
    parsed = options.parse(FlagParser(prog="x"), [*COMMON, "--dry_run=True"])[1]
    output = Storage("gs://bucket/captions")
    pipeline = beam.Pipeline(options=parsed)
    build(
        pipeline,
        ["a"],
        ReadPending(output),
        CommitShards(CaptionJob(BundleSource("gs://b", 3, 24, 32), Reading({})), run_of(output)),
    )
    result = pipeline.run()
    assert result.state == "DONE"
    assert staged == {}


IN_A_BUCKET = [WorkItem(id, f"gs://bucket/{id}.jpg") for id in "abcdefgh"]


def launcher(output: Storage, *flags: str) -> int:
    """What Google's launcher of flex templates runs, without an account."""
    parsed = options.parse(FlagParser(prog="beamscribe caption"), [*COMMON, "--no_auth", *flags])[1]
    request = Request(
        job=FakeJob(frozenset("c")),
        corpus=distinct(IN_A_BUCKET),
        output=output,
        fingerprint=Fingerprint({"style": "oil"}),
        details={},
        flags=JobFlags(2, None, False, "refuse", {}),
        options=parsed,
    )
    return launch(request)


def run_here(pipeline: bytes) -> None:
    """Runs the staged graph on the local runner."""
    graph = beam_runner_api_pb2.Pipeline.FromString(pipeline)
    here = environments.EmbeddedPythonEnvironment.default().to_runner_api(PipelineContext())
    for environment in graph.components.environments.values():
        environment.CopyFrom(here)
    FnApiRunner().run_via_runner_api(graph, PipelineOptions()).wait_until_finish()


TEMPLATE = "--template_location=gs://bucket/templates/caption"


def test_a_staged_job_finds_what_it_needs_and_tidies_up(
    staged: dict[str, bytes], memory: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launcher(memory, TEMPLATE) == DONE
    last = capsys.readouterr().out.splitlines()[-1]
    assert "8 in the corpus: 8 to do in 3 shards by the job that is staged at gs://bucket/templates/caption" in last
    assert memory.files(PENDING)
    assert not memory.exists(LEASE)
    run_here(staged["pipeline.pb"])
    assert captions_of(memory) == [(id, f"{id} in oil") for id in "abdefgh"]
    assert attempts_of(memory) == [("c", 1)]
    assert verify(memory)[:3] == (7, 1, 0)
    assert memory.files(PENDING) == []
    assert memory.files(STARTED) == []
    assert not memory.exists(LEASE)


def test_while_a_staged_job_runs_no_other_command_may_write(staged: dict[str, bytes], memory: Storage) -> None:
    assert launcher(memory, TEMPLATE) == DONE
    token = staged_token()
    confirm_lease(dataclasses.replace(memory, run=token))
    with pytest.raises(RefusedError, match="is being written by a staged job"):
        launcher(memory, TEMPLATE)
    with pytest.raises(LeaseLostError, match="is being written by a staged job"):
        confirm_lease(dataclasses.replace(memory, run=staged_token()))
    give_back(dataclasses.replace(memory, run=token))
    assert launcher(memory, TEMPLATE) == DONE


def test_a_staged_job_that_comes_too_late_commits_nothing(staged: dict[str, bytes], memory: Storage) -> None:
    assert launcher(memory, TEMPLATE) == DONE
    late = staged["pipeline.pb"]
    assert go_here(memory) == DONE
    before = contents(memory)
    assert memory.files(PENDING) == []
    with pytest.raises(Exception, match="another command has done or replaced what this job was to do"):
        run_here(late)
    assert contents(memory) == before


def go_here(output: Storage) -> int:
    """The same command on this machine."""
    request = Request(
        job=FakeJob(frozenset("c")),
        corpus=distinct(IN_A_BUCKET),
        output=output,
        fingerprint=Fingerprint({"style": "oil"}),
        details={},
        flags=JobFlags(2, None, False, "refuse", {}),
        options=options.parse(FlagParser(prog="x"), [])[1],
    )
    return launch(request)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses that somebody wanted to connect to."""
    asked: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("no network here")

    def look_up(*address: Any, **how: Any) -> None:
        asked.append(address)
        raise socket.gaierror("no network here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


DRY = {
    "caption": ["--images", "gs://bucket/photographs", "--model", "gs://bucket/bundle"],
    "featurize": ["--annotations", "gs://bucket/captions.json", "--images", "gs://bucket/photographs"],
    "speak": ["--captions", "gs://bucket/captions"],
}


@pytest.mark.parametrize("runner", [COMMON, [], ["--runner=PortableRunner", "--job_endpoint=localhost:1"]])
@pytest.mark.parametrize("job", DRY)
def test_a_dry_run_asks_no_network_and_no_account(
    no_network: list[Any], capsys: pytest.CaptureFixture[str], job: str, runner: list[str]
) -> None:
    command = [job, *DRY[job], "--output", "gs://bucket/output", *runner, "--dry_run=True"]
    assert beamscribe.main(command) == DONE
    assert no_network == []
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"beamscribe {job}: dry run: the job can be made for ")


def test_a_dry_run_says_what_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["caption", *DRY["caption"], "--runner=DataflowRunner", "--dry_run=True"]
    assert beamscribe.main([*command, "--output", "captions", *COMMON]) == REFUSED
    assert "workers on Dataflow do not see captions" in capsys.readouterr().err
    assert beamscribe.main([*command, "--output", "gs://bucket/captions", "--temp_location=gs://bucket/x"]) == REFUSED
    assert "the job cannot be made for DataflowRunner" in capsys.readouterr().err


def test_workers_are_told_how_many_share_a_machine() -> None:
    def processes(*flags: str) -> int | None:
        return processes_a_machine(options.parse(FlagParser(prog="x"), list(flags))[1])

    assert processes() is None
    assert processes(*COMMON) == 0  # Dataflow starts one a core
    assert processes(*COMMON, *GPU) == 1
    assert processes("--runner=FlinkRunner") == 1
    assert processes("--runner=SparkRunner", "--sdk_worker_parallelism=4") == 4


WORKER = """
import os, sys
os.cpu_count = lambda: 8
from beamscribe.storage.storage import Storage
from beamscribe.pipelines.commits.pending import _CommitShard
from tests.pipelines.fake_job import FakeJob, run_of
names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
for processes in (0, 1, 2):
    for name in names:
        os.environ.pop(name, None)
    worker = _CommitShard(FakeJob(), run_of(Storage(sys.argv[1]))._replace(processes=processes), None)
    worker.setup()
    assert "tensorflow" not in sys.modules
    print(*(os.environ.get(name) for name in names))
"""


def test_a_worker_shares_its_cores_before_tensorflow_is_there(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert told.stdout.splitlines() == ["1 1 1", "8 4 8", "4 2 4"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (None, "FnApiRunner"),
        ("direct", "FnApiRunner"),
        ("DirectRunner", "FnApiRunner"),
        ("dataflow", "DataflowRunner"),
        ("FLINKRUNNER", "FlinkRunner"),
        ("apache_beam.runners.portability.fn_api_runner.FnApiRunner", None),
    ],
)
def test_a_runner_may_be_named_as_beam_takes_it(typed: str | None, meant: str | None) -> None:
    assert runner_named(typed) == (meant or typed)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("DataflwRunner", "did you mean DataflowRunner?"),
        ("flnk", "did you mean FlinkRunner?"),
        ("no.such.Runner", "is not known"),
        ("zzz", "there are DataflowRunner"),
    ],
)
def test_a_runner_that_is_none_is_refused_before_a_model_is_looked_for(
    typed: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["caption", "--images", "/nowhere", "--model", "/nowhere", "--output", "/nowhere", f"--runner={typed}"]
    assert beamscribe.main(command) == REFUSED
    error = capsys.readouterr().err
    assert f"--runner={typed} is not known" in error
    assert told in error


def test_a_job_server_that_is_not_there_is_told_soon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("beamscribe.pipelines.runtime.runners.CONNECT_SECONDS", 1.0)
    command = ["caption", "--images", "/nowhere", "--model", "/nowhere", "--output", "/nowhere"]
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts, and says nothing
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        for endpoint in ("127.0.0.1:1", address):
            began = time.monotonic()
            assert beamscribe.main([*command, "--runner=PortableRunner", f"--job_endpoint={endpoint}"]) == REFUSED
            assert f"--job_endpoint={endpoint}: cannot connect within 1 s" in capsys.readouterr().err
            assert time.monotonic() - began < 20
    assert beamscribe.main([*command, "--runner=PortableRunner"]) == REFUSED
    assert "needs --job_endpoint" in capsys.readouterr().err


def test_local_files_are_refused(local: Storage, memory: Storage, tmp_path: Path) -> None:
    parsed = options.parse(FlagParser(prog="x"), COMMON)[1]
    refuse_local(parsed, memory, ["gs://bucket/a.jpg", "https://example.org/b.jpg"])
    with pytest.raises(RefusedError, match="workers on Dataflow do not see.*output"):
        refuse_local(parsed, local, [])
    with pytest.raises(RefusedError, match="workers on Dataflow do not see.*a.jpg"):
        refuse_local(parsed, memory, ["gs://bucket/a.jpg", f"file://{tmp_path}/a.jpg"])
    refuse_local(options.parse(FlagParser(prog="x"), [])[1], local, [f"file://{tmp_path}/a.jpg"])


DEPLOY = CHECKOUT / "deploy"


def test_the_image_is_built_on_the_pinned_versions() -> None:
    pinned = dict(
        line.split("==", 1) for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    beam_version = pinned["apache-beam"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"ARG BEAM=docker.io/apache/beam_python3.11_sdk:{beam_version}\n" in dockerfile
    assert f"BEAM_VERSION={beam_version}\n" in (DEPLOY / "image" / "base.sh").read_text()
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if re.match("COPY (?!--from)", line)]
    assert copied
    assert all((CHECKOUT / name).exists() for names in copied for name in names)
    # After a change of versions: make image-lock
    for target, tensorflow in {"cpu": "tensorflow-cpu", "gpu": "tensorflow"}.items():
        locked = dict(
            line.split(";")[0].strip().split("==", 1)
            for line in (DEPLOY / "image" / f"{target}.txt").read_text().splitlines()
            if "==" in line
        )
        assert locked[tensorflow] == pinned["tensorflow"]
        plain = {re.sub("[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
        for name, version in locked.items():
            assert plain.get(name, version) == version, name
    assert "openvino" in (DEPLOY / "image" / "cpu.txt").read_text()
