"""What deploy/dataflow says is what the jobs and gcloud take; nothing is asked of an account."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts as prices

from beamscribe.command_line import JOBS, parser_of
from beamscribe.pipelines.runtime import options
from tests.engines.servers import CHECKOUT

FOLDER = CHECKOUT / "deploy" / "dataflow"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("job", JOBS)
def test_templates_have_the_flags_that_jobs_have(job: str) -> None:
    written = json.loads((FOLDER / "templates" / f"{job}.json").read_text(encoding="utf-8"))
    # After a change of flags: python deploy/dataflow/metadata.py
    assert written == module("metadata").metadata_of(job)
    assert len(written["parameters"]) > 10
    for parameter in written["parameters"]:
        assert parameter["helpText"]
        for pattern in parameter.get("regexes", []):
            re.compile(pattern)


def test_parameters_of_a_template_are_flags() -> None:
    flags_of = module("launch").flags_of
    parser = parser_of("caption")
    given = ["--images=gs://b/one 'gs://b/two three'", "--output=gs://b/c", "--retry-failed=true", "--strict=false"]
    flags = flags_of(parser, [*given, "--runner=DataflowRunner", "--streaming"])
    assert flags == [
        *("--images", "gs://b/one", "gs://b/two three", "--output=gs://b/c", "--retry-failed"),
        *("--runner=DataflowRunner", "--streaming"),
    ]
    parsed = options.parse(parser, flags[:-2])[0]
    assert parsed.images == ["gs://b/one", "gs://b/two three"]
    assert (parsed.retry_failed, parsed.strict) == (True, False)
    with pytest.raises(ValueError, match="--strict is 'yes'"):
        flags_of(parser, ["--strict=yes"])


RECORDER = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
sys.exit(1 if "describe" in sys.argv else 0)
"""


def ran(tmp_path: Path, script: str, *arguments: str, **values: str) -> list[list[str]]:
    """What a script would run, with programs in the place of gcloud and docker that write down how they are called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("gcloud", "docker"):
        (tools / name).write_text(RECORDER)
        (tools / name).chmod(0o755)
    record = tmp_path / "record"
    environment = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "RECORD": str(record), "PROJECT": "project"}
    subprocess.run([FOLDER / script, *arguments], env=environment | values, check=True, capture_output=True)
    return [json.loads(line) for line in record.read_text().splitlines()]


def gcloud_tree() -> dict[str, Any] | None:
    """The commands and flags that the installed gcloud has, from the table of its own completion."""
    program = shutil.which("gcloud")
    if program is None:
        return None
    root = Path(os.path.realpath(program)).parents[1]
    found = root / "data" / "cli" / "gcloud_completions.py"
    if not found.exists():
        return None
    spec = importlib.util.spec_from_file_location("gcloud_completions", found)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.STATIC_COMPLETION_CLI_TREE


def unknown(tree: dict[str, Any], words: list[str]) -> list[str]:
    """The words of a command of gcloud that it does not have."""
    flags = set(tree["flags"])
    node = tree
    for word in words:
        if word.startswith("--"):
            continue
        if word not in node["commands"]:
            break
        node = node["commands"][word]
        flags |= set(node.get("flags", {}))
    lacking = [word for word in words if word.startswith("--") and word.partition("=")[0] not in flags]
    return lacking if not node.get("commands") else [*lacking, shlex.join(words)]


SCRIPTS = [
    ("setup.sh", (), {"EMAIL": "a@example.org"}),
    ("publish.sh", (), {}),
    ("caption.sh", ("gs://b/photographs", "gs://b/captions"), {}),
    ("caption.sh", ("gs://b/photographs", "gs://b/captions"), {"TARGET": "gpu"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("script", "arguments", "values"), SCRIPTS)
def test_scripts_call_gcloud_as_it_is(
    script: str, arguments: tuple[str, ...], values: dict[str, str], tmp_path: Path
) -> None:
    calls = [call[1:] for call in ran(tmp_path, script, *arguments, **values) if call[0] == "gcloud"]
    assert calls
    tree = gcloud_tree()
    if tree is None:
        pytest.skip("gcloud is not installed")
    assert [wrong for call in calls if (wrong := unknown(tree, call))] == []
    # The check can fail.
    assert unknown(tree, ["storage", "buckets", "create", "--no-such-flag=1"]) == ["--no-such-flag=1"]


@pytest.mark.slow
def test_a_template_for_every_job_is_published(tmp_path: Path) -> None:
    calls = ran(tmp_path, "publish.sh")
    built = [call for call in calls if call[1:4] == ["dataflow", "flex-template", "build"]]
    assert [call[4] for call in built] == [f"gs://project-beamscribe/templates/{job}-cpu.json" for job in JOBS]
    for call in built:
        [metadata] = [word.partition("=")[2] for word in call if word.startswith("--metadata-file=")]
        assert json.loads(Path(metadata).read_text(encoding="utf-8"))["parameters"]


def test_parameters_that_caption_sh_gives_are_known(tmp_path: Path) -> None:
    [call] = ran(tmp_path, "caption.sh", "gs://b/photographs", "gs://b/captions")
    [given] = [word.partition("=")[2] for word in call if word.startswith("--parameters=")]
    flags = [f"--{parameter}" for parameter in given.split(",")]
    parsed, beam = options.parse(parser_of("caption"), [*flags, "--project=project", "--region=r"])
    assert parsed.images == ["gs://b/photographs"]
    assert beam.get_all_options()["sdk_location"] == "container"


@pytest.mark.parametrize("name", ["alert.json", "lifecycle.json"])
def test_files_are_json(name: str) -> None:
    assert json.loads((FOLDER / name).read_text())


def test_the_cost_table_is_what_its_numbers_multiply_to() -> None:
    """The table of docs/running.md, Dataflow, with the prices that Beam itself reckons with."""
    text = (CHECKOUT / "docs" / "running.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+\.\d\d) \| (measured|reckoned)", text, re.MULTILINE)
    assert len(rows) == 3
    for name, core_hours, dollars, _ in rows:
        price = prices.VCPU_PER_HR_BATCH + 4 * prices.MEM_PER_GB_HR_BATCH
        assert float(dollars) == pytest.approx(int(core_hours) * price, abs=0.006), name
    machine = 8 * prices.VCPU_PER_HR_BATCH + 30 * prices.MEM_PER_GB_HR_BATCH
    [with_gpu] = re.findall(r"T4: \$([\d.]+) an hour", text)
    [(ratio, above, below)] = re.findall(r"more than ([\d.]+) times \(([\d.]+) ÷ ([\d.]+),", text)
    with_gpu, ratio, above, below = map(float, (with_gpu, ratio, above, below))
    assert with_gpu == above == pytest.approx(machine + prices.T4_PER_GPU_PER_HOUR, abs=0.006)
    assert below == pytest.approx(machine, abs=0.006)
    assert ratio == pytest.approx(above / below, abs=0.05)
