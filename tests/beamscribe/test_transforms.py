"""The building blocks, in pipelines as somebody else would write them."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import RunInference
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

import beamscribe
from beamscribe import Captioner, CaptionImages, CaptionModelHandler, FeaturizeImages, SpeakTexts
from beamscribe.model.bundle import Bundle
from beamscribe.model.examples import decode_example, encode_example
from beamscribe.pipelines.speech.audio import check_audio
from beamscribe.transforms import Spoken
from tests.documents import CHECKOUT

pytestmark = pytest.mark.slow


def check_by_key(found: beam.PCollection, check: Callable[[dict], None], label: str = "Check") -> None:
    """Runs a check on what a pipeline gives, by key."""
    assert_that(found, lambda elements: check({element.key: element for element in elements}), label=label)


@pytest.fixture(scope="module")
def pictures(made_images: Path) -> list[Path]:
    return sorted((made_images / "images").glob("*.jpg"))[:5]


@pytest.mark.slow
def test_images_become_captions(untrained_bundle: Bundle, pictures: list[Path]) -> None:
    files = [str(path) for path in pictures]
    expected = dict(zip(files, Captioner.load(untrained_bundle.path, max_length=8).caption(files), strict=True))

    def check(found: dict) -> None:
        assert set(found) == {files[0], "bytes", "broken", "not/there.jpg"}
        for key, file in ((files[0], files[0]), ("bytes", files[1])):
            assert found[key].text == expected[file].text
            assert found[key].score == pytest.approx(expected[file].score, abs=1e-4)
            assert found[key].error is None
        assert found["broken"].error.startswith("NotAnImage: ")
        assert "not/there.jpg" in found["not/there.jpg"].error
        assert math.isnan(found["broken"].score)

    def check_predictions(found: list) -> None:
        assert {one.example: one.inference.text for one in found} == {name: one.text for name, one in expected.items()}

    images = [files[0], ("bytes", pictures[1].read_bytes()), ("broken", b"no image"), "not/there.jpg"]
    with TestPipeline() as pipeline:
        check_by_key(pipeline | beam.Create(images) | CaptionImages(untrained_bundle.path, max_length=8), check)
        handler = CaptionModelHandler(untrained_bundle.path, max_length=8, max_batch_size=2)
        assert_that(pipeline | "Files" >> beam.Create(files) | RunInference(handler), check_predictions, label="Infer")


def test_images_become_records(pictures: list[Path]) -> None:
    files = [str(path) for path in pictures[:2]]
    expected = dict(zip(("a", files[1]), beamscribe.featurize(files, weights="random"), strict=True))

    def check(found: dict) -> None:
        for key, grid in expected.items():
            example = found[key].example
            assert decode_example(encode_example(example), key) == example
            stored = np.frombuffer(example.features, "<f2").reshape(example.shape)
            np.testing.assert_allclose(stored.astype(float), grid.astype(float), atol=2e-2)
        assert found["broken"].example is None
        assert found["broken"].error

    with TestPipeline() as pipeline:
        images = [("a", pictures[0].read_bytes()), files[1], ("broken", b"GIF89a")]
        check_by_key(pipeline | beam.Create(images) | FeaturizeImages(weights="random"), check)


def test_texts_become_audio() -> None:
    texts = {"A dog runs.": "A dog runs.", "second": "A cat sleeps on a chair."}

    def check(found: dict) -> None:
        assert set(found) == {*texts, "empty"}
        assert found["empty"].audio is None
        assert found["empty"].error
        for key, text in texts.items():
            assert check_audio(found[key].audio, text).duration_seconds == pytest.approx(found[key].duration_seconds)

    with TestPipeline() as pipeline:
        elements = ["A dog runs.", ("second", texts["second"]), ("empty", "")]
        check_by_key(pipeline | beam.Create(elements) | SpeakTexts(format="wav"), check)


@pytest.mark.nightly
@pytest.mark.slow
def test_the_documented_example_runs(pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "building_blocks.md").read_text(), re.DOTALL)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "cat.jpg").write_bytes(pictures[0].read_bytes())
    monkeypatch.chdir(tmp_path)

    def check(audio: list[Spoken]) -> None:
        assert {one.key: one.error for one in audio} == {"photographs/cat.jpg": None, "dog": None}
        assert all(one.duration_seconds > 0.5 for one in audio)

    # The block ends inside its pipeline.
    seen = f"{blocks[0]}    assert_that(audio, check)\n"
    exec(seen, {"dog_bytes": pictures[1].read_bytes(), "assert_that": assert_that, "check": check})  # noqa: S102 - ours.
