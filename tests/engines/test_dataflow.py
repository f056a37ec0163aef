"""The job that Dataflow would be sent, made without an account: nothing is asked of the network."""

import json
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

from model.storage import Storage
from pipelines import options
from pipelines.caption import CaptionJob, parser
from pipelines.commits.pending import CommitShards, ReadPending
from pipelines.images.reading import Reading
from pipelines.running import build, is_elsewhere, refuse_local
from schemas.command import FlagParser, RefusedError
from tests.engines.servers import CHECKOUT
from tests.pipelines.fake_job import run_of

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


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is staged, by name."""
    files: dict[str, bytes] = {}

    def stage(client: Any, folder: str, name: str, stream: Any, *how: Any, **more: Any) -> None:
        files[name] = stream.read()

    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)
    monkeypatch.setattr(DataflowApplicationClient, "stage_file", stage)
    return files


def template(staged: dict[str, bytes], *flags: str) -> dict[str, Any]:
    asked = [*COMMON, *flags, "--no_auth", "--template_location=gs://bucket/templates/caption"]
    parsed = options.parse(FlagParser(prog="beamscribe caption"), asked)[1]
    assert is_elsewhere(parsed)
    output = Storage("gs://bucket/captions")
    job = CaptionJob("gs://bucket/bundle", 3, 24, 32, Reading({}))
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
        pipeline, ["a"], ReadPending(output), CommitShards(CaptionJob("gs://b", 3, 24, 32, Reading({})), run_of(output))
    )
    result = pipeline.run()
    assert result.state == "DONE"
    assert staged == {}


def test_local_files_are_refused(local: Storage, memory: Storage, tmp_path: Path) -> None:
    parsed = options.parse(FlagParser(prog="x"), COMMON)[1]
    refuse_local(parsed, memory, ["gs://bucket/a.jpg", "https://example.org/b.jpg"])
    with pytest.raises(RefusedError, match="workers on Dataflow do not see.*output"):
        refuse_local(parsed, local, [])
    with pytest.raises(RefusedError, match="workers on Dataflow do not see.*a.jpg"):
        refuse_local(parsed, memory, ["gs://bucket/a.jpg", f"file://{tmp_path}/a.jpg"])
    refuse_local(options.parse(FlagParser(prog="x"), [])[1], local, [f"file://{tmp_path}/a.jpg"])


DEPLOY = CHECKOUT / "deploy"


def test_the_image_is_built_on_the_pinned_beam() -> None:
    pinned = next(
        line.partition("==")[2]
        for line in (CHECKOUT / "constraints.txt").read_text().splitlines()
        if line.startswith("apache-beam==")
    )
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"FROM apache/beam_python3.11_sdk:{pinned} AS beam" in dockerfile
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if re.match("COPY (?!--from)", line)]
    assert copied
    assert all((CHECKOUT / name).exists() for names in copied for name in names)


def test_the_flex_template_names_flags_that_there_are() -> None:
    known = {name for action in parser()._actions for name in action.option_strings}
    metadata = json.loads((DEPLOY / "flex-template" / "metadata.json").read_text())
    assert {"name", "description", "parameters"} <= metadata.keys()
    for parameter in metadata["parameters"]:
        assert f"--{parameter['name']}" in known
        assert {"label", "helpText"} <= parameter.keys()
        for pattern in parameter.get("regexes", []):
            re.compile(pattern)
