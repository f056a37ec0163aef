"""Manifests are valid by the schemas of Kubernetes, and their commands by the flags that there are."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamscribe.command_line import parser_of
from beamscribe.pipelines.runtime import options
from tests.engines.servers import CHECKOUT

kubernetes_validate = pytest.importorskip("kubernetes_validate")

FOLDER = CHECKOUT / "deploy" / "kubernetes"
VERSIONS = ("1.32", "1.37")
"""Containers that run beside others (a restart policy of their own) are there since 1.29."""
# `make` sees to kubectl nowhere: where it is not, the files are checked as they stand, before their values are put in.
KUBECTL = shutil.which("kubectl")


def built(name: str) -> list[dict[str, Any]]:
    """The resources of a folder, as they are sent to a cluster."""
    if KUBECTL is None:
        files = [path for path in (FOLDER / name).glob("*.yaml") if path.name != "kustomization.yaml"]
        return [resource for path in files for resource in yaml.safe_load_all(path.read_text())]
    command = [KUBECTL, "kustomize", str(FOLDER / name)]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, check=True, text=True).stdout))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["flink", "one-pod"])
def test_manifests_are_valid(name: str, version: str) -> None:
    resources = built(name)
    assert {"Namespace", "ServiceAccount", "Job"} <= {resource["kind"] for resource in resources}
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_wrong_field_is_found() -> None:
    [job] = [resource for resource in built("one-pod") if resource["kind"] == "Job"]
    job["spec"]["template"]["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)


def containers(resources: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    pods = [resource["spec"]["template"]["spec"] for resource in resources if "template" in resource.get("spec", {})]
    found = [one for pod in pods for key in ("initContainers", "containers") for one in pod.get(key, [])]
    return [one for one in found if one["name"] == name]


def filled(args: list[str], folder: str) -> list[str]:
    """Arguments with the values of a folder, as Kubernetes puts them in."""
    values = [line.split("=", 1) for line in (FOLDER / folder / "values.env").read_text().splitlines() if "=" in line]
    for name, value in values:
        args = [one.replace(f"$({name})", value) for one in args]
    assert not any("$(" in one for one in args), args
    return args


@pytest.mark.parametrize("name", ["flink", "one-pod"])
def test_the_command_has_flags_that_there_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "refuse_without_server", lambda beam_options: None)
    [container] = containers(built(name), "caption")
    assert container["command"] == ["beamscribe"]
    job, *flags = filled(container["args"], name)
    flagged, beam = options.parse(parser_of(job), flags)
    assert flagged.output == "s3://bucket/captions"
    if name == "flink":
        assert beam.get_all_options()["parallelism"] == 4
        assert beam.get_all_options()["environment_config"] == "localhost:50000"


def test_workers_have_no_root_and_a_probe() -> None:
    for name in ("flink", "one-pod"):
        for container in (one for kind in ("workers", "caption") for one in containers(built(name), kind)):
            assert container["securityContext"]["runAsNonRoot"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
    [workers] = containers(built("flink"), "workers")
    assert workers["startupProbe"]["tcpSocket"]["port"] == 50000


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
def test_values_stand_in_one_place() -> None:
    resources = built("flink")
    images = {one["image"] for kind in ("workers", "taskmanager", "job-server") for one in containers(resources, kind)}
    assert all(":" in image.rpartition("/")[2] for image in images), images
    assert next(r for r in resources if r["metadata"]["name"] == "flink-taskmanager")["spec"]["replicas"] == 4
    gpu = built("gpu")
    for resource in gpu:
        kubernetes_validate.validate(resource, VERSIONS[0], strict=True)
    [workers] = containers(gpu, "workers")
    assert workers["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert workers["image"].endswith("-gpu")
    # The patch adds to what is there.
    assert workers["args"] == ["--worker_pool"]


def test_versions_are_those_of_the_package() -> None:
    version = next(
        line.split('"')[1]
        for line in Path(CHECKOUT / "beamscribe/__init__.py").read_text().splitlines()
        if line.startswith("__version__")
    )
    for name in ("flink", "gpu", "one-pod"):
        assert f"newTag: {version}-" in (FOLDER / name / "kustomization.yaml").read_text()
    pom = (CHECKOUT / "deploy/flink/pom.xml").read_text()
    images = yaml.safe_load((FOLDER / "flink" / "kustomization.yaml").read_text())["images"]
    [server] = [image["newTag"] for image in images if image["name"] == "flink-job-server"]
    assert f"<version>{server}</version>" in pom
