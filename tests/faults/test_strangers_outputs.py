"""Outputs that strangers made or damaged: every command that reads one tells what is wrong in one line."""

import contextlib
import copy
import dataclasses
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED, STOPPED
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.stored_corpus import write_corpus
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.rows import FAILURES
from beamscribe.storage.output_reader import MANIFEST
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS, START
from tests.training.made_captions import FINGERPRINT, FakeMeteor, caption, write_annotations, write_output

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100")) // 4
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
CODES = (DONE, STOPPED, REFUSED, CHECK_FAILED)


def make_output(folder: Path, mark: str = "") -> str:
    """An output of two captions and a failure, with receipts; `mark` stands in all that is text."""
    rows = [caption(f"file:///{mark}/{n}{mark}.jpg", f"A dog{mark}.") for n in (1, 2)]
    output = Storage(write_output(folder, rows))
    failure = FailureRow("file:///3.jpg", f"file:///3{mark}.jpg", f"read{mark}", f"Error{mark}", f"no{mark}", 1, START)
    output.write("failures/0.parquet", FAILURES.encode([failure]))
    items = [WorkItem(row.id, row.image_uri) for row in rows] + [WorkItem(failure.id, failure.image_uri)]
    write_corpus(output, WorkItems.of(items))
    manifest = Manifest.from_json(output.read(MANIFEST), MANIFEST)
    output.write(MANIFEST, dataclasses.replace(manifest, references=3, listed=3).to_json().encode())
    Ledger(output, ROWS).settle(FINGERPRINT)
    return output.root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    make_output(folder / "whole")
    write_annotations(folder / "coco.json", {"1.jpg": ["A dog."], "2.jpg": ["A cat."]})
    return folder


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamscribe.training.scores.Meteor", FakeMeteor)


def commands(output: str, folder: Path) -> Iterator[list[str]]:
    """Every command that reads an output of caption, but for jobs."""
    yield ["status", output]
    yield ["status", output, "--json"]
    yield ["verify", output]
    yield ["export", output, "--to", "csv", "--output", str(folder / "x.csv"), "--replace"]
    yield ["export", output, "--to", "sidecar", "--output", str(folder / "side"), "--replace"]
    results = ["--to", "coco-results", "--output", str(folder / "x.json"), "--replace"]
    yield ["export", output, *results, "--annotations", str(folder / "coco.json")]
    yield ["evaluate", "--captions", output, "--annotations", str(folder / "coco.json")]
    yield ["report", output, "--output", str(folder / "x.html"), "--model", str(folder / "none")]


def test_whole_outputs_are_read(whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    codes = [main(command) for command in commands(str(whole / "whole"), whole)]
    assert codes == [DONE] * len(codes)
    capfd.readouterr()


def test_nothing_that_a_terminal_acts_on_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = make_output(tmp_path / "output", ESCAPE)
    names = {f"{n}{ESCAPE}.jpg": [f"A dog{ESCAPE}."] for n in (1, 2)}
    write_annotations(tmp_path / "coco.json", names)
    for command in commands(output, tmp_path):
        code = main(command)
        told = capfd.readouterr()
        assert code in CODES
        assert not set("\x1b\x07\x9b\u202e") & set(told.out + told.err), command
        if code == REFUSED:
            assert told.err.count("\n") == 1
    write_annotations(tmp_path / "coco.json", {f"a/1{ESCAPE}.jpg": ["x"], f"b/1{ESCAPE}.jpg": ["y"]})
    for command in list(commands(output, tmp_path))[5:7]:
        assert main(command) == REFUSED
        refused = capfd.readouterr().err
        assert "may be" in refused
        assert "\x1b" not in refused


ODD: list[Any] = [None, True, -1, 2**70, 1e308, "", "x", "\x1b[2J", "\ud800", [], {}, [[]], {"a": 1}, "9" * 5000]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with a key in it, at any depth."""
    if isinstance(value, dict):
        for key in value:
            yield value, key
            yield from places(value[key])
    elif isinstance(value, list):
        for key in range(len(value)):
            yield value, key
            yield from places(value[key])


def mutated(data: bytes, name: str, draw: random.Random) -> bytes:
    """A file that is nearly what it was."""
    kind = draw.randrange(8)
    if kind == 0:
        return data[: draw.randrange(len(data) + 1)]
    if kind == 1:
        return draw.choice(
            [b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"7", b"[]", b"{}", b"PAR1PAR1"]
        )
    if name.endswith(".json") and kind < 7:
        found = json.loads(data)
        for _ in range(draw.randint(1, 2)):
            if spots := list(places(found)):
                container, key = draw.choice(spots)
                if isinstance(container, dict) and draw.random() < 0.3:
                    container.pop(key)
                else:
                    container[key] = copy.deepcopy(draw.choice(ODD))
        return json.dumps(found).encode()
    changed = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.nightly
@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_damaged_outputs_are_refused_in_one_line(whole: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    draw = random.Random(seed)
    output = whole / "damaged"
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(whole / "whole", output)
    files = sorted(path for path in output.rglob("*") if path.is_file())
    for path in draw.sample(files, draw.choice([1, 1, 2])):
        path.write_bytes(mutated(path.read_bytes(), path.name, draw))
    with contextlib.suppress(FileNotFoundError):
        (output / "_beamscribe" / "lease.json").unlink()
    if draw.random() < 0.2:
        lease = {"token": "t", "process": 1, "host": "h", "boot": "b", "heartbeat": "2026-01-01T00:00:00+00:00"}
        lease[draw.choice(list(lease))] = draw.choice(ODD)
        (output / "_beamscribe" / "lease.json").write_text(json.dumps(lease))
    for command in commands(str(output), whole):
        code = main(command)
        told = capfd.readouterr()
        assert code in CODES, command
        assert "Traceback" not in told.err
        assert "\x1b" not in told.out + told.err
        if code == REFUSED:
            assert told.err.count("\n") == 1, told.err
        assert code != REFUSED or told.err.startswith(f"beamscribe {command[0]}: ")
