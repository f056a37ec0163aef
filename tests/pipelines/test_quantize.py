"""A bundle gets an int8 backbone and captions with it."""

from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from beamscribe.errors import DONE, RefusedError
from beamscribe.model.bundle import open_bundle
from beamscribe.model.pretrained import EMBEDDED
from beamscribe.pipelines import caption, quantize
from beamscribe.storage.output_reader import manifest_of
from beamscribe.storage.storage import Storage


def test_what_cannot_be_is_refused_before_anything_is_computed(tmp_path: Path, made_images: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.jpg").write_bytes(b"no image")
    images = ["--calibration", str(made_images / "images"), "--output"]
    with pytest.raises(RefusedError, match="is not empty"):
        quantize.run(["--model", EMBEDDED, *images, str(tmp_path / "full")])
    with pytest.raises(RefusedError, match="--model: .* is not a bundle"):
        quantize.run(["--model", str(tmp_path), *images, str(tmp_path / "out")])
    with pytest.raises(RefusedError, match="no photograph that can be decoded"):
        quantize.run(["--calibration", str(tmp_path / "none"), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_scheme_that_does_not_work_with_few_photographs_is_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails() -> float:
        raise IndexError("list index out of range")

    def measured(error: float) -> tuple[float, bytes, bytes]:
        return error, b"xml", b"weights"

    schemes = {"fast": lambda: 0.3, "mixed": lambda: 0.2, "aware": fails}
    assert quantize.first_good(schemes, measured, 8)[0] == 0.2
    assert "aware: not possible with these photographs (IndexError: list index out of range)" in capsys.readouterr().out
    assert quantize.first_good({"fast": fails, "good": lambda: 0.01, "best": lambda: 0.0}, measured, 8)[0] == 0.01
    with pytest.raises(RefusedError, match=r"^--calibration: no scheme works with 8 photographs: give 300"):
        quantize.first_good({"fast": fails}, measured, 8)


def test_features_of_zeros_are_kept_by_int8_and_are_a_number() -> None:
    zeros, ones = np.zeros((1, 2, 2, 3), np.float32), np.ones((1, 2, 2, 3), np.float32)
    assert quantize.relative_error(zeros, zeros) == 0
    assert quantize.relative_error(ones, zeros) > 1
    assert quantize.relative_error(np.float16(0.9) * ones, ones) == pytest.approx(0.1, rel=0.01)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_quantized_bundle_captions_in_int8(
    tmp_path: Path, made_images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf")
    # Twelve pictures of one colour each are no photographs; whatever the first scheme gives will do here.
    monkeypatch.setattr(quantize, "GOOD_ENOUGH", 10.0)
    output, captions = str(tmp_path / "int8"), str(tmp_path / "captions")
    flags = ["--model", EMBEDDED, "--calibration", str(made_images / "images"), "--calibration-images", "12"]
    assert quantize.run([*flags, "--output", output]) == DONE
    assert "12 photographs" in capsys.readouterr().out
    bundle, before = open_bundle(output), open_bundle(EMBEDDED)
    bundle.check()
    assert bundle.is_quantized
    assert not before.is_quantized
    assert bundle.weights_digest == before.weights_digest
    assert bundle.notice == before.notice
    assert (Path(output) / "README.md").read_bytes() == (Path(EMBEDDED) / "README.md").read_bytes()

    job = ["--model", output, "--images", str(made_images / "images"), "--limit", "4", "--output", captions]
    assert caption.run([*job, "--precision", "int8"]) == DONE
    assert ds.dataset(f"{captions}/captions").count_rows() == 4
    fields = manifest_of(Storage(captions)).fingerprint.fields
    assert (fields["engine"], fields["precision"]) == ("openvino", "int8")
    assert fields["quantized_backbone"] == bundle.quantized_digest
    # Asked again without a word on precision, it is the same job.
    assert caption.run(job) == DONE
    assert "this run did 0 of 4" in capsys.readouterr().out
