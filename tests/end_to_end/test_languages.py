"""Captions in Korean and German: learned, written, scored and spoken."""

import json
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE
from beamscribe.pipelines.speech.audio import check_audio

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_captioner")]

LANGUAGES = {
    "ko": (
        {"red": "빨간", "green": "초록", "blue": "파란", "white": "하얀"},
        "{} 벽입니다.",
        "벽이 {} 색입니다.",
        "unicode",
    ),
    "de": (
        {"red": "rötliche", "green": "grüne", "blue": "bläuliche", "white": "weiße"},
        "Eine {} Häuserwand.",
        "Dort ist die {} Häuserwand.",
        "ptb",
    ),
}
RECIPE = """
from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=25, batch_size=8, learning_rate=3e-3, vocabulary_size=80, max_length=12, width=32, heads=4, feed_forward=64,
    dropout=0.0, patience=25,
)
"""


@pytest.mark.nightly
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_captioner_of_another_language(
    language: str, made_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours, first, second, rules = LANGUAGES[language]
    corpus = json.loads((made_images / "captions.json").read_text())
    named = {image["id"]: colours[image["file_name"].partition("-")[0]] for image in corpus["images"]}
    corpus["annotations"] = [
        {"id": 2 * id + number, "image_id": id, "caption": text.format(colour)}
        for id, colour in named.items()
        for number, text in enumerate((first, second))
    ]
    annotations = tmp_path / "captions.json"
    annotations.write_text(json.dumps(corpus, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "recipe.py").write_text(RECIPE)
    images, bundle = ("--images", str(made_images / "images")), str(tmp_path / "bundle")
    features, captions, speech = (tmp_path / name for name in ("features", "captions", "speech"))
    backbone = ("--backbone", "efficientnet_lite2")
    assert main(["featurize", "--annotations", str(annotations), *images, *backbone, "--output", str(features)]) == DONE
    train = [
        "train",
        "--features",
        str(features),
        "--validation",
        str(features),
        "--config",
        str(tmp_path / "recipe.py"),
    ]
    assert main([*train, "--output", bundle]) in (DONE, CHECK_FAILED)
    assert main(["caption", *images, "--model", bundle, "--max-length", "10", "--output", str(captions)]) == DONE

    rows = ds.dataset(captions / "captions").to_table().to_pylist()
    # What normalisation cannot give back: capitals within a sentence, and German ß.
    expected = {text.format(colour).casefold().rstrip(".") for colour in colours.values() for text in (first, second)}
    said = [row["caption"].casefold().rstrip(".") for row in rows]
    assert set(said) <= expected
    right = [
        colours[Path(row["image_uri"]).name.partition("-")[0]].casefold() in row["caption"].casefold() for row in rows
    ]
    assert np.mean(right) > 0.8

    scores = tmp_path / "scores.json"
    evaluate = ["evaluate", "--captions", str(captions), "--annotations", str(annotations), "--output", str(scores)]
    assert main(evaluate) == DONE
    found = json.loads(scores.read_text())
    assert found["words"] == rules
    assert found["captions"]["scores"]["bleu_2"]["value"] > 0.8
    assert ("runs of letters" in capsys.readouterr().out) == (rules == "unicode")

    speak = ["speak", "--captions", str(captions), "--lang", language, "--format", "wav", "--output", str(speech)]
    assert main(speak) == DONE
    spoken = ds.dataset(speech / "index").to_table().to_pylist()
    assert len(spoken) == len(rows)
    for row in spoken:
        audio = check_audio((speech / row["audio_uri"]).read_bytes(), row["caption"])
        assert audio.duration_seconds > 0.6
