"""Annotations of another folder are refused before anything is launched."""

import json
from pathlib import Path

import pytest

from beamscribe import main
from beamscribe.errors import REFUSED, RefusedError
from beamscribe.pipelines.sources.annotated import SAMPLE, refuse_other_folder
from beamscribe.schemas.coco import CocoImage
from beamscribe.storage.storage import Storage


def image(file_name: str) -> CocoImage:
    return CocoImage(1, file_name, None, None, ())


def test_one_annotated_image_suffices_wherever_it_stands(output: Storage) -> None:
    output.write("photos/deep/a.jpg", b"x")
    images = [image(f"{number}.jpg") for number in range(20 * SAMPLE)]
    images[7] = image("deep/a.jpg")
    refuse_other_folder(images, output.uri("photos"), {})
    refuse_other_folder(images, output.uri("photos") + "/", {})
    refuse_other_folder([image("deep/a.jpg")], output.uri("photos"), {})
    del images[7]
    with pytest.raises(RefusedError):
        refuse_other_folder(images, output.uri("photos"), {})


def test_a_folder_without_any_is_refused(output: Storage) -> None:
    output.write("photos/train/b.jpg", b"x")
    with pytest.raises(RefusedError, match="none of the 2 annotated images, such as b.jpg; it holds train/b.jpg: name"):
        refuse_other_folder([image("b.jpg"), image("c.jpg")], output.uri("photos"), {})


def test_featurize_refuses_annotations_of_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    annotations = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": []}
    (tmp_path / "coco.json").write_text(json.dumps(annotations))
    command = ["featurize", "--annotations", str(tmp_path / "coco.json"), "--images", str(tmp_path / "photos")]
    command += ["--output", str(tmp_path / "features"), "--backbone", "MobileNetV2", "--backbone-weights", "random"]
    assert main(command) == REFUSED
    assert "such as 1.jpg; it is empty" in capsys.readouterr().err
    assert not (tmp_path / "features").exists()
