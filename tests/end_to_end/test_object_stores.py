"""The whole way on an object store: the test uploads pictures and annotations, the commands do the rest.

`BEAMSCRIBE_WHOLE_WAY=1` trains and evaluates on GCS too; by default S3 stands for both there.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE
from beamscribe.model.pretrained import EMBEDDED
from tests.object_stores import ObjectStore

IMAGES = 8
WHOLE = f"is whole: {IMAGES} rows, 0 failures, 0 to do"


@pytest.mark.nightly
@pytest.mark.slow
def test_the_whole_way_on_an_object_store(
    object_store: ObjectStore, made_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = json.loads((made_images / "captions.json").read_text())
    annotations["images"] = annotations["images"][:IMAGES]
    for image in annotations["images"]:
        name = image["file_name"]
        object_store.put(f"images/{name}", (made_images / "images" / name).read_bytes())
    object_store.put("captions.json", json.dumps(annotations).encode())
    at = object_store.root
    options = ["--storage-options", json.dumps(object_store.options)]

    def go(command: str, *arguments: str) -> list[str]:
        """Runs a command; returns the lines that it prints."""
        # Two epochs need not be better than word frequencies.
        expected = (DONE, CHECK_FAILED) if command == "train" else (DONE,)
        assert main([command, *arguments, *options]) in expected
        return capsys.readouterr().out.strip().splitlines()

    corpus = ["--annotations", f"{at}/captions.json", "--images", f"{at}/images"]
    features = ["--backbone", "efficientnet_lite2", "--output", f"{at}/features", "--shard-size", "3"]
    assert "5 in the corpus: 5 done" in go("featurize", *corpus, *features, "--limit", "5")[-1]
    assert f"{IMAGES} in the corpus: {IMAGES} done" in go("featurize", *corpus, *features)[-1]
    if at.startswith("gs://") and "BEAMSCRIBE_WHOLE_WAY" not in os.environ:
        caption_all(go, at, EMBEDDED)
        return
    recipe = ["--config", "training/configs/handful.py", "--epochs", "2"]
    material = ["--features", f"{at}/features", "--validation", f"{at}/features"]
    go("train", *recipe, *material, "--output", str(tmp_path / "bundle"))

    for file in (tmp_path / "bundle").iterdir():
        object_store.put(f"bundle/{file.name}", file.read_bytes())
    caption_all(go, at, f"{at}/bundle")
    go("caption", "--features", f"{at}/features", "--model", f"{at}/bundle", "--output", f"{at}/from_features")
    scores = f"{at}/scores/made.json"
    go("evaluate", "--captions", f"{at}/captions", "--annotations", f"{at}/captions.json", "--output", scores)
    assert {"scores/made.json", "scores/made.parquet"} <= set(object_store.names())
    assert WHOLE in go("verify", f"{at}/from_features")[-1]


def caption_all(go: Callable[..., list[str]], at: str, model: str) -> None:
    """Captions in two goes, and speaks."""
    captions = ["caption", "--images", f"{at}/images", "--model", model, "--output", f"{at}/captions"]
    assert "5 in the corpus: 5 done" in go(*captions, "--limit", "5")[-1]
    assert "this run did 3 of 8" in "".join(go(*captions))
    assert "this run did 0 of 8" in "".join(go(*captions))
    go("speak", "--captions", f"{at}/captions", "--output", f"{at}/speech")
    for output in ("features", "captions", "speech"):
        assert WHOLE in go("verify", f"{at}/{output}")[-1]
