"""Benchmarks take minutes and are run by hand; what they use of the project has to be there all the same."""

import importlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.documents import CHECKOUT


@pytest.mark.parametrize("name", sorted(path.stem for path in (CHECKOUT / "benchmarks").glob("[!_]*.py")))
def test_what_a_benchmark_uses_is_there(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_the_table_has_medians_and_their_ratios() -> None:
    from benchmarks.__main__ import RATIOS, table
    from benchmarks.jobs import Measured

    fast, slow, wanted = RATIOS[0]
    measured = [Measured(fast, rate, 1.0, 1.0, 1.0, 1.0) for rate in (90.0, 30.0, 60.0)]
    lines = table([*measured, Measured(slow, 20.0, 1.0, 1.0, 1.0, 1.0)]).splitlines()
    assert f"| {fast} ÷ {slow} | 3.00 | {wanted} |" in lines
    assert any(line.startswith(f"| {fast} | 60.0 |") and line.endswith("| 3 |") for line in lines)


def test_a_model_that_does_nothing_is_a_job() -> None:
    from benchmarks.small import measure

    with tempfile.TemporaryDirectory() as folder:
        assert measure(folder, 40).images_a_second > 0


@pytest.mark.slow
@pytest.mark.parametrize("most", [10_000, 1000], ids=["whole", "in parts"])
def test_a_plan_is_measured_at_a_small_size(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from beamscribe.pipelines.sources import manifest_parts
    from benchmarks import plan

    for module in (plan, manifest_parts):
        monkeypatch.setattr(module, "MOST_LISTED", most)
    for name, size in (("PART_ROWS", 512), ("LEAST_BYTES", 1)):
        monkeypatch.setattr(manifest_parts, name, size)
    monkeypatch.setattr(plan, "ROW_GROUP", 256)
    # It is replaced by what counts.
    monkeypatch.setattr(plan.launch, "CommitShards", plan.launch.CommitShards)
    plan.write_manifest(str(tmp_path / plan.MANIFEST_FILE), 4096)
    plan.prepare(4096, str(tmp_path))
    found = plan.measure(4096, str(tmp_path))
    assert found["references"] == 4096
    assert found["shards"] > 0


@pytest.mark.slow
@pytest.mark.nightly
def test_captioners_are_measured_on_whatever_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that measures a GPU, small, on a CPU."""
    from benchmarks import gpu

    gpu.main(["--small"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["batch_size"], found["precision"]) == (2, "float32")
    assert found["device"].split()[0] in ("CPU", "GPU")
    assert found["images_a_second"] > 0


def test_the_least_sure_are_captioned_again() -> None:
    import numpy as np

    from benchmarks.cascade import Scores, merged

    scores = Scores(np.array([1.0, 0.0, 2.0, 0.0]), np.full(4, 3.0), np.array([0.6, 0.1, 0.9, 0.2]))
    assert merged(scores, 0.5) == ((1 + 3 + 2 + 3) / 4, (0.75 + 3) / 2)
    assert merged(scores, 0.0) == (0.75, 0.75)
    assert merged(scores, 1.0) == (3.0, 3.0)


def test_strange_pictures_are_the_same_each_time_and_confidence_is_compared_by_pairs() -> None:
    from benchmarks.strange_pictures import KINDS, separation

    for draw in KINDS.values():
        one, again = (np.asarray(draw(np.random.default_rng(3))) for _ in range(2))
        assert one.shape[2] == 3
        assert (one == again).all()
    assert separation(np.array([0.9, 0.5]), np.array([0.1, 0.5])) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
