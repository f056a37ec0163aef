"""The Python API: every kind of image takes the same way, and the examples in the docstrings are true."""

import doctest
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beamscribe import notebook, pictures
from beamscribe.model.backbone.spec import EFFICIENTNET_LITE2
from beamscribe.notebook import Captioner, speak
from beamscribe.pipelines.speech.audio import decode
from beamscribe.schemas.caption_row import Alternative
from tests.documents import CHECKOUT

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


class FakeWriter:
    """Says how red an image is, and notes the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def caption_pixels(self, pixels: np.ndarray) -> list[tuple[Alternative, ...]]:
        assert pixels.shape[1:] == (260, 260, 3)
        self.sizes.append(len(pixels))
        return [
            (Alternative(f"{one[..., 0].mean():.0f}", -0.5), Alternative(f"{one[..., 1].mean():.0f}", -1.0))
            for one in pixels
        ]


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


@pytest.fixture
def captioner(writer: FakeWriter) -> Captioner:
    return Captioner(writer, EFFICIENTNET_LITE2)  # type: ignore[arg-type]


def test_every_kind_of_image_is_the_same_image(captioner: Captioner, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    kinds = [path, str(path), path.as_uri(), path.read_bytes(), Image.open(path), PIXELS, PIXELS / 255]
    found = captioner.caption(kinds)
    assert len(found) == len(kinds)
    assert len(set(found)) == 1
    assert found[0].score == -0.5
    assert [other.score for other in found[0].alternatives] == [-1.0]


def test_alpha_grey_and_orientation_are_kept_in_mind(captioner: Captioner) -> None:
    transparent = np.zeros((8, 8, 4), np.uint8)
    grey, one_channel = np.full((8, 8), 100, np.uint8), np.full((8, 8, 1), 100, np.uint8)
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    texts = [found.text for found in captioner.caption([transparent, grey, one_channel, cmyk])]
    assert texts[:3] == ["255", "100", "100"]
    assert int(texts[3]) > 200
    buffer = io.BytesIO()
    half = Image.fromarray(np.concatenate([np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)], 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    half.save(buffer, "JPEG", exif=exif)
    pixels = pictures.pixels_or_error(Image.open(io.BytesIO(buffer.getvalue())), EFFICIENTNET_LITE2)
    assert isinstance(pixels, np.ndarray)
    assert pixels[:100].mean() < 20
    assert pixels[-100:].mean() > 230


@pytest.mark.parametrize(("images", "sizes"), [(0, []), (1, [1]), (3, [4]), (32, [32]), (37, [32, 8])])
def test_batches_have_few_sizes(captioner: Captioner, writer: FakeWriter, images: int, sizes: list[int]) -> None:
    assert len(captioner.caption([PIXELS] * images)) == images
    assert writer.sizes == sizes


BAD = [
    (b"hello", "NotAnImage: "),
    ("/nowhere.jpg", "FileNotFoundError: /nowhere.jpg: "),
    (np.zeros((4, 4, 3), np.int64), "TypeError: .*not int64"),
    (np.zeros((4, 4, 2), np.uint8), "ValueError: "),
    (np.zeros(4, np.uint8), "ValueError: "),
    (PIXELS.astype(np.float32), "ValueError: .*floats are from 0 to 1, these from 0 to 255: divide them by 255"),
    (np.full((4, 4, 3), np.nan), "ValueError: "),
    (7, "TypeError: .*not int"),
]


@pytest.mark.parametrize(("image", "error"), BAD)
def test_one_bad_image_is_one_result_that_says_so(captioner: Captioner, image: object, error: str) -> None:
    before, bad, after = captioner.caption([PIXELS, image, PIXELS])  # type: ignore[list-item]
    assert before == after == captioner.caption([PIXELS])[0]
    assert before.error is None
    assert (bad.text, np.isnan(bad.score), bad.alternatives) == ("", True, ())
    assert bad.error is not None
    assert re.match(error, bad.error)


def test_a_batch_of_bad_images_is_no_batch(captioner: Captioner, writer: FakeWriter) -> None:
    assert [found.error is None for found in captioner.caption([b"a", b"b"])] == [False, False]
    assert writer.sizes == []


def test_one_image_is_a_list_of_one(captioner: Captioner, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    for one in (path, str(path), path.read_bytes(), Image.open(path), PIXELS):
        assert captioner.caption(one) == captioner.caption([one])
    assert len(captioner.caption(np.stack([PIXELS, PIXELS]))) == 2


def test_features_name_the_image_that_has_none() -> None:
    with pytest.raises(ValueError, match="image 33 has no features: FileNotFoundError: /nowhere.jpg"):
        notebook._features([PIXELS] * 33 + ["/nowhere.jpg"], 32, EFFICIENTNET_LITE2, lambda pixels: pixels)


def test_speech_is_sound() -> None:
    assert len(decode(speak("A dog runs along the beach.")).samples) > 20_000


@pytest.mark.nightly
@pytest.mark.slow
def test_the_examples_are_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEAMSCRIBE_MODEL", raising=False)
    command = [sys.executable, CHECKOUT / "docs" / "demo" / "photographs.py", tmp_path / "photographs"]
    subprocess.run(command, check=True)
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(notebook)
    assert (found.failed, found.attempted > 10) == (0, True)


@pytest.mark.parametrize("max_length", [0, 10_000])
def test_a_caption_longer_than_the_bundle_writes_is_refused_before_anything_is_loaded(max_length: int) -> None:
    with pytest.raises(ValueError, match=f"max_length={max_length}: .* writes 1 to [0-9]+ tokens"):
        Captioner.load(max_length=max_length)
