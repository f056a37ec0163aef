"""The picture of a captioner's attentions."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beamscribe.errors import DONE, RefusedError
from beamscribe.model.attention_maps import SelfAttentions, WordAttention
from beamscribe.model.bundle import Bundle
from beamscribe.model.word_choices import Alternative, WordChoice
from beamscribe.pipelines.explain import run
from beamscribe.pipelines.images.attention_picture import Explained, draw

pytestmark = pytest.mark.slow

WHITE = np.full((40, 40, 3), 255, np.uint8)


def picture(words: int, self_attention: bool) -> Image.Image:
    maps = np.zeros((2, 2))
    maps[0, 1] = 1
    eye = np.eye(4) if self_attention else None
    found = Explained(
        pixels=WHITE,
        aspect=1.5,
        caption="A dog.",
        words=[WordAttention(f"word{n}", maps) for n in range(words)],
        within=SelfAttentions(eye, ("[START]", "a", "##b", "c"), eye),
        cell=(0, 1),
        grid=(2, 2),
        choices=[
            WordChoice(f"word{n}", 0.5, (Alternative("$a$_{", 0.25), Alternative("b", 0.1))) for n in range(words)
        ],
        looks=self_attention,
    )
    return Image.open(io.BytesIO(draw(found))).convert("L")


@pytest.mark.parametrize("self_attention", [True, False])
def test_a_picture_grows_with_the_words(self_attention: bool) -> None:
    none, five, six = (picture(words, self_attention) for words in (0, 5, 6))
    assert none.width == five.width == six.width
    assert none.height < five.height < six.height
    for one in (none, five, six):
        assert np.asarray(one).std() > 5


def test_what_is_looked_at_is_light() -> None:
    # The last row holds one word, whose map lights the right upper quarter of a white photograph.
    pixels = np.asarray(picture(6, self_attention=True))
    word = pixels[-pixels.shape[0] // 4 : -pixels.shape[0] // 16, : pixels.shape[1] // 5]
    dark = np.argwhere(word < 100)
    (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0)
    quarter = word[(3 * top + bottom) // 4, (left + 3 * right) // 4]
    assert quarter > 150 > 100 > word[(top + 3 * bottom) // 4, (3 * left + right) // 4]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--output", "a.jpg"], "is not called NAME.png"),
        (["--output", "a.png", "--cell", "4"], "4 is not ROW,COLUMN"),
        (["--output", "a.png", "--cell", "9,0"], "outside the grid: it has the cells 0,0 to 8,8"),
        (["--output", "a.png", "--model", "/nowhere"], "--model: /nowhere is not a bundle"),
    ],
)
def test_refusals(tmp_path: Path, flags: list[str], says: str) -> None:
    image = tmp_path / "white.png"
    Image.fromarray(WHITE).save(image)
    with pytest.raises(RefusedError, match=says):
        run([str(image), *flags])


def test_the_photograph_is_not_written_over(tmp_path: Path) -> None:
    image = tmp_path / "white.png"
    Image.fromarray(WHITE).save(image)
    before = image.read_bytes()
    with pytest.raises(RefusedError, match="is the photograph itself"):
        run([str(image), "--output", str(tmp_path / "." / "white.png")])
    assert image.read_bytes() == before


def test_what_is_no_photograph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(RefusedError, match="NotAnImage"):
        run([str(tmp_path / "text.jpg"), "--output", "a.png"])
    with pytest.raises(RefusedError, match="cannot be read"):
        run([str(tmp_path / "none.jpg"), "--output", "a.png"])


@pytest.mark.slow
def test_a_photograph_is_explained(untrained_bundle: Bundle, made_images: Path, tmp_path: Path, capsys) -> None:
    image = next((made_images / "images").glob("red*.jpg"))
    flags = ["--model", untrained_bundle.path, "--output", str(tmp_path / "a.png")]
    assert run([str(image), *flags, "--caption", "Abc de.", "--cell", "0,6"]) == DONE
    assert capsys.readouterr().out == f"beamscribe explain: Abc de. → {tmp_path / 'a.png'}\n"
    assert Image.open(tmp_path / "a.png").width > 1000
