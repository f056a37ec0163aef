"""Training on through the backbone: the loss falls, and captions come from the tuned weights."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from beamscribe import main
from model.backbone.spec import EMBEDDED_LITE2
from schemas.command import DONE, REFUSED

pytestmark = pytest.mark.slow

RECIPE = """
from training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=2, batch_size=8, learning_rate=2e-3, vocabulary_size=100, max_length=10, width=32, heads=4, feed_forward=64,
    dropout=0.0, fine_tune_epochs=3, fine_tune_learning_rate=3e-3, patience=5,
)
"""


@pytest.fixture(scope="module")
def featurized(made_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of made pictures by a small backbone, and a recipe."""
    out = tmp_path_factory.mktemp("tune")
    (out / "recipe.py").write_text(RECIPE)
    flags = ["--annotations", str(made_images / "captions.json"), "--images", str(made_images / "images")]
    backbone = ["--backbone", "efficientnet_lite2"]
    assert main(["featurize", *flags, *backbone, "--output", str(out / "features")]) == DONE
    return out


def command(folder: Path, *more: str) -> list[str]:
    features = ["--features", str(folder / "features"), "--validation", str(folder / "features")]
    return ["train", *features, "--config", str(folder / "recipe.py"), *more]


def captions(folder: Path, bundle: str, images: Path) -> list[tuple[str, float]]:
    output = str(folder / f"captions-of-{bundle}")
    model = ["--model", str(folder / bundle), "--max-length", "8"]
    assert main(["caption", "--images", str(images), *model, "--output", output]) == DONE
    rows = ds.dataset(f"{output}/captions").to_table().to_pylist()
    return [(row["caption"], row["score"]) for row in sorted(rows, key=lambda row: row["image_uri"])]


def test_the_loss_falls_and_captions_come_from_the_tuned_weights(featurized: Path, made_images: Path) -> None:
    tuned = ["--fine-tune-from", "_conv_head", "--output", str(featurized / "tuned")]
    assert main(command(featurized, *tuned)) == DONE
    metrics = json.loads((featurized / "tuned" / "metrics.json").read_text())
    losses = [epoch["token_loss"] for epoch in metrics["fine_tune_history"]]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert metrics["validation_token_loss"] < metrics["history"][-1]["val_token_loss"]

    # The same captioner with the backbone as it was: other scores, so the tuned weights are in use.
    config = json.loads((featurized / "tuned" / "config.json").read_text())
    assert config["backbone"]["file"] == "backbone.npz"
    original = Path(EMBEDDED_LITE2).read_bytes()
    digest = hashlib.sha256(original).hexdigest()
    assert config["backbone"]["digest"] == config["files"]["backbone.npz"] != digest
    shutil.copytree(featurized / "tuned", featurized / "untuned")
    (featurized / "untuned" / "backbone.npz").write_bytes(original)
    config["backbone"]["digest"] = config["files"]["backbone.npz"] = digest
    (featurized / "untuned" / "config.json").write_text(json.dumps(config))
    images = made_images / "images"
    assert captions(featurized, "tuned", images) != captions(featurized, "untuned", images)

    # Stored features come from another backbone now.
    stored = ["--features", str(featurized / "features"), "--output", str(featurized / "refused")]
    assert main(["caption", *stored, "--model", str(featurized / "tuned"), "--max-length", "8"]) == REFUSED


def test_images_that_moved_are_found_again(featurized: Path, made_images: Path, capsys: pytest.CaptureFixture) -> None:
    moved = featurized / "moved"
    shutil.copytree(made_images / "images", moved)
    (made_images / "images").rename(made_images / "gone")
    try:
        tuned = ["--fine-tune-from", "_conv_head", "--output", str(featurized / "from_moved"), "--epochs", "1"]
        assert main(command(featurized, *tuned)) == REFUSED
        assert "--images-root" in capsys.readouterr().err
        assert main(command(featurized, *tuned, "--images-root", str(moved))) == DONE
        # One that goes while training reads it is named too.
        (moved / "white-23.jpg").unlink()
        lost = ["--fine-tune-from", "_conv_head", "--output", str(featurized / "lost"), "--epochs", "1"]
        assert main(command(featurized, *lost, "--images-root", str(moved))) == REFUSED
        assert "white-23.jpg cannot be read" in capsys.readouterr().err
    finally:
        (made_images / "gone").rename(made_images / "images")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fine-tune-from", "conv_head"], "no such layer; near: _conv_head"),
        (["--images-root", "elsewhere"], "--images-root says where"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    featurized: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(command(featurized, *flags, "--output", str(featurized / "none"), "--epochs", "1")) == REFUSED
    assert message in capsys.readouterr().err
    assert not (featurized / "none").exists()
