"""Training on through the backbone: the loss falls, and captions come from the tuned weights."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED
from beamscribe.model.backbone.spec import EMBEDDED_LITE2
from beamscribe.training import fine_tune
from beamscribe.training.config import read_config
from beamscribe.training.material import prepare as prepare_material

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

RECIPE = """
from beamscribe.training.config import TrainingConfig

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
    featurize(made_images, out)
    return out


def featurize(corpus: Path, folder: Path, *more: str, output: str = "features") -> None:
    flags = ["--annotations", str(corpus / "captions.json"), "--images", str(corpus / "images")]
    backbone = ["--backbone", "efficientnet_lite2"]
    assert main(["featurize", *flags, *backbone, "--output", str(folder / output), *more]) == DONE


def command(folder: Path, *more: str) -> list[str]:
    features = ["--features", str(folder / "features"), "--validation", str(folder / "features")]
    return ["train", *features, "--config", str(folder / "recipe.py"), *more]


def captions(folder: Path, bundle: str, images: Path) -> list[tuple[str, float]]:
    output = str(folder / f"captions-of-{bundle}")
    model = ["--model", str(folder / bundle), "--max-length", "8"]
    assert main(["caption", "--images", str(images), *model, "--output", output]) == DONE
    rows = ds.dataset(f"{output}/captions").to_table().to_pylist()
    return [(row["caption"], row["score"]) for row in sorted(rows, key=lambda row: row["image_uri"])]


def assert_tuned(folder: Path, images: Path, layer: str) -> None:
    """The loss has fallen, and captions come from the tuned weights."""
    # Captions of a few epochs may still be worse than word frequencies, which is told.
    assert main(command(folder, "--fine-tune-from", layer, "--output", str(folder / "tuned"))) in (DONE, CHECK_FAILED)
    metrics = json.loads((folder / "tuned" / "metrics.json").read_text())
    (member,) = metrics["members"]
    losses = [epoch["token_loss"] for epoch in member["fine_tune_history"]]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert losses[-1] < member["history"][-1]["token_loss"]

    # The same captioner with the backbone as it was: other scores, so the tuned weights are in use.
    config = json.loads((folder / "tuned" / "config.json").read_text())
    assert config["backbone"]["file"] == "backbone.npz"
    original = Path(EMBEDDED_LITE2).read_bytes()
    digest = hashlib.sha256(original).hexdigest()
    assert config["backbone"]["digest"] == config["files"]["backbone.npz"] != digest
    shutil.copytree(folder / "tuned", folder / "untuned")
    (folder / "untuned" / "backbone.npz").write_bytes(original)
    config["backbone"]["digest"] = config["files"]["backbone.npz"] = digest
    (folder / "untuned" / "config.json").write_text(json.dumps(config))
    assert captions(folder, "tuned", images) != captions(folder, "untuned", images)


def test_the_loss_falls_and_captions_come_from_the_tuned_weights(featurized: Path, made_images: Path) -> None:
    assert_tuned(featurized, made_images / "images", "_conv_head")
    # Stored features come from another backbone now.
    stored = ["--features", str(featurized / "features"), "--output", str(featurized / "refused")]
    assert main(["caption", *stored, "--model", str(featurized / "tuned"), "--max-length", "8"]) == REFUSED


def test_photographs_through_several_blocks(shared: Path, tmp_path: Path) -> None:
    annotations = json.loads((shared / "flickr8k" / "annotations" / "captions_train.json").read_text())
    images = annotations["images"][:64]
    ids = {image["id"] for image in images}
    said = [caption for caption in annotations["annotations"] if caption["image_id"] in ids]
    (tmp_path / "images").mkdir()
    for image in images:
        shutil.copy(shared / "flickr8k" / "images" / image["file_name"], tmp_path / "images")
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": said}))
    featurize(tmp_path, tmp_path)
    (tmp_path / "recipe.py").write_text(RECIPE.replace("max_length=10", "max_length=24"))
    assert_tuned(tmp_path, tmp_path / "images", "_blocks.19._expand_conv")


def test_the_two_parts_of_the_backbone_give_what_featurize_stored(featurized: Path, made_images: Path) -> None:
    """Of photographs, of their mirror images and of random parts."""
    outputs = [str(featurized / name) for name in ("features", "mirrored", "part")]
    featurize(made_images, featurized, "--view", "1", output="mirrored")
    featurize(made_images, featurized, "--view", "2", output="part")
    config = read_config(str(featurized / "recipe.py"))
    work = str(featurized / "work")
    material = prepare_material(outputs, outputs[:1], config, work, {})
    assert sorted(set(material.training.views.tolist())) == [0, 1, 2]
    asked = fine_tune.prepare(material, "_blocks.16._expand_conv", None, {})
    inner = fine_tune._inner(material, config, work, asked)
    images = np.array([0, 5, 24, 30, 48, 60])
    cells = fine_tune._cells(asked.upper, inner.training.inputs(images)).numpy()
    stored = material.training.inputs(images).astype(np.float32)
    assert np.abs(cells - stored).max() < 0.02
    for photograph, again in ((0, 2), (0, 4)):
        assert np.abs(stored[photograph] - stored[again]).max() > 0.5


def test_images_that_moved_are_found_again(featurized: Path, made_images: Path, capsys: pytest.CaptureFixture) -> None:
    moved = featurized / "moved"
    shutil.copytree(made_images / "images", moved)
    (made_images / "images").rename(made_images / "gone")
    try:
        tuned = ["--fine-tune-from", "_conv_head", "--output", str(featurized / "from_moved"), "--epochs", "1"]
        assert main(command(featurized, *tuned)) == REFUSED
        assert "--images-root" in capsys.readouterr().err
        assert main(command(featurized, *tuned, "--images-root", str(moved))) in (DONE, CHECK_FAILED)
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
