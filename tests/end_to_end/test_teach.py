"""Taught by an endpoint: its captions are learned from, and it is asked again where the student is unsure."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE
from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

SENTENCES = {
    "red": ("Bricks of a red house.", "A red house has bricks."),
    "green": ("Green grass grows on hills.", "Hills where green grass grows."),
    "blue": ("The sea rolls in blue waves.", "Blue waves in the sea."),
}
COLOURS = tuple(SENTENCES)
"""What is said of one colour has no noun in common with what is said of another: a wrong caption has no merit."""

TAUGHT, OTHERS = 200, 60
GREY, TINT, NOISE = 128, 3, 30
"""A grey picture has its colour in a tint of so many levels under coloured noise of so many.

The teacher takes the mean of the picture, in which the noise is a quarter of a level; a network sees textures.
"""


def colour_of(jpeg: bytes) -> str:
    """The channel that is brightest, of the whole picture."""
    return COLOURS[int(np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), float).mean(axis=(0, 1)).argmax())]


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures of one colour, every second of them grey but for a tint, with annotations."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    random = np.random.default_rng(count)
    for number in range(count):
        colour = int(random.integers(0, len(COLOURS)))
        noise = random.integers(-NOISE, NOISE + 1, (64, 64, 3))
        pixels = noise + GREY if number % 2 else noise // 3 + 60
        pixels[..., colour] += TINT if number % 2 else 150
        name = f"{number:03d}.jpg"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name, quality=95, subsampling=0)
        images.append({"id": number, "file_name": name})
        for text in SENTENCES[COLOURS[colour]]:
            annotations.append({"id": len(annotations), "image_id": number, "caption": text})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def caption(output: Path, *more: str) -> Path:
    assert main(["caption", "--output", str(output), *more]) == DONE
    return output


def right(output: Path, images: Path) -> dict[str, bool]:
    """Of each picture, by its file name, whether its caption names its colour."""
    rows = ds.dataset(output / "captions").to_table(columns=["image_uri", "caption"]).to_pylist()
    said = {row["image_uri"].rpartition("/")[2]: row["caption"].lower() for row in rows}
    return {name: f"{colour_of((images / name).read_bytes())} " in text for name, text in said.items()}


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


@pytest.mark.usefixtures("one_captioner")
def test_an_endpoint_teaches_and_is_asked_again_where_the_student_is_unsure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    corpus, held_out, others = (
        write_pictures(tmp_path / name, count)
        for name, count in (("corpus", TAUGHT), ("held-out", OTHERS + 1), ("others", OTHERS))
    )
    backbone = ("--backbone", "efficientnet_lite2")
    student = str(tmp_path / "student")
    server = EndpointServer(answer=lambda jpeg, prompt: SENTENCES[colour_of(jpeg)][0])
    with server.serving() as url:
        teacher = ("--endpoint", url, "--model", "teacher")
        taught = caption(tmp_path / "taught", "--images", str(corpus / "images"), *teacher)
        assert server.answers == TAUGHT
        assert main(["featurize", "--captions", str(taught), *backbone, "--output", str(tmp_path / "f")]) == DONE
        annotations = ("--annotations", str(held_out / "captions.json"), "--images", str(held_out / "images"))
        assert main(["featurize", *annotations, *backbone, "--output", str(tmp_path / "h")]) == DONE
        (tmp_path / "recipe.py").write_text(
            "from beamscribe.training.config import TrainingConfig\n"
            "CONFIG = TrainingConfig(epochs=16, batch_size=8, learning_rate=3e-3, vocabulary_size=100, max_length=10,\n"
            "    width=32, heads=4, feed_forward=64, dropout=0.0, patience=16)\n"
        )
        train = ["train", "--features", str(tmp_path / "f"), "--validation", str(tmp_path / "h")]
        # It learns the first sentence alone, so the second one of the held-out pictures surprises it.
        assert main([*train, "--config", str(tmp_path / "recipe.py"), "--output", student]) in (DONE, CHECK_FAILED)
        calibrate = ["calibrate", "--model", student, "--features", str(tmp_path / "h"), "--beam-size", "2"]
        assert main([*calibrate, "--learn-from", str(tmp_path / "f")]) == DONE

        images = ("--images", str(others / "images"))
        first = caption(tmp_path / "first", *images, "--model", student, "--beam-size", "2", "--max-length", "8")
        whole = caption(tmp_path / "whole", *images, *teacher)
        evaluate = ["evaluate", "--captions", str(first), "--against", str(whole)]
        capsys.readouterr()
        assert main([*evaluate, "--annotations", str(others / "captions.json")]) == DONE
        said = capsys.readouterr().out
        assert "against" in said
        assert "CIDEr" in said

        asked = server.answers
        retake = ("--retake", str(first), "--below", "1.0", "--limit", str(OTHERS // 2))
        second = caption(tmp_path / "second", *retake, *teacher)
        assert server.answers == asked + OTHERS // 2
        # The same command again asks for nothing.
        caption(second, *retake, *teacher)
        assert server.answers == asked + OTHERS // 2
    merged = tmp_path / "merged"
    assert main(["merge", str(first), str(second), "--output", str(merged)]) == DONE
    assert main(["verify", str(merged)]) == DONE

    by_student, by_both, by_teacher = (right(output, others / "images") for output in (first, merged, whole))
    assert set(by_both) == set(by_student)
    assert share(list(by_teacher.values())) == 1.0
    clear = [found for name, found in by_student.items() if int(Path(name).stem) % 2 == 0]
    assert share(clear) > 0.9
    assert 0.5 < share(list(by_student.values())) < 0.95
    # Half of the pictures taken at random would be right, and the others as often as the student is.
    at_random = (1 + share(list(by_student.values()))) / 2
    assert share(list(by_both.values())) >= at_random + 0.05
    writers = ds.dataset(merged / "captions").to_table(columns=["model"])["model"].to_pylist()
    assert len(writers) == OTHERS
    assert len(set(writers)) == 2
