"""What workers on other machines need is copied below the output, once."""

import os
from pathlib import Path

import pytest

from beamscribe.model.backbone.network import _local_copy
from beamscribe.model.backbone.spec import ResolvedWeights, resolve_weights
from beamscribe.model.bundle import Bundle, open_bundle
from beamscribe.pipelines.caption import CaptionJob
from beamscribe.pipelines.captioners.bundle import BundleSource
from beamscribe.pipelines.featurize import FeaturizeJob
from beamscribe.pipelines.images.reading import Reading
from beamscribe.storage.storage import Storage

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_bundle(untrained_bundle: Bundle, memory: Storage) -> None:
    job = CaptionJob(BundleSource(untrained_bundle.path, 3, 24, 8), Reading({})).stage_artifacts(memory)
    assert isinstance(job.captioner, BundleSource)
    assert job.captioner.bundle.startswith(f"{memory.uri('_beamscribe/bundles')}/")
    assert open_bundle(job.captioner.bundle).weights_digest == untrained_bundle.weights_digest
    assert job.stage_artifacts(memory) == job


def test_a_weights_file(tmp_path: Path, memory: Storage) -> None:
    (tmp_path / "mine.weights.h5").write_bytes(b"weights")
    weights = resolve_weights(str(tmp_path / "mine.weights.h5"), None)  # type: ignore[arg-type]
    job = FeaturizeJob("inception_v3", weights, 8, False, Reading({})).stage_artifacts(memory)
    assert job.weights.source.startswith(f"{memory.uri('_beamscribe/weights')}/")
    assert job.weights.digest == weights.digest
    fetched = _local_copy(job.weights)
    assert Path(fetched).read_bytes() == b"weights"
    assert os.path.basename(fetched) == "mine.weights.h5"
    assert job.stage_artifacts(memory) == job


@pytest.mark.parametrize("source", ["imagenet", "random"])
def test_weights_that_are_no_file(memory: Storage, source: str) -> None:
    weights = ResolvedWeights(source, source)
    job = FeaturizeJob("inception_v3", weights, 8, False, Reading({}))
    assert job.stage_artifacts(memory) == job
    assert memory.files("_beamscribe") == []
