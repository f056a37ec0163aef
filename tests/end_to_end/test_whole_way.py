"""The way from annotations to audio, with every command run as a user runs it and the files read back."""

import gzip
import json
import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
import soundfile
import tensorflow as tf

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_captioner")]


def rows(folder: Path) -> list[dict]:
    """A data folder read with pyarrow alone."""
    return sorted(ds.dataset(folder).to_table().to_pylist(), key=lambda row: row["id"])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def made(made_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything made once from made pictures: features, bundle, captions, speech."""
    out = tmp_path_factory.mktemp("whole_way")
    annotations = ["--annotations", str(made_images / "captions.json"), "--images", str(made_images / "images")]
    features = ["--backbone-weights", "random", "--output", str(out / "features"), "--shard-size", "8"]
    assert main(["featurize", *annotations, *features]) == DONE
    recipe = ["--config", "training/configs/handful.py", "--epochs", "2"]
    data = ["--features", str(out / "features"), "--validation", str(out / "features"), "--output", str(out / "bundle")]
    # Two epochs need not be better than word frequencies.
    assert main(["train", *recipe, *data]) in (DONE, CHECK_FAILED)
    model = ["--model", str(out / "bundle")]
    images = ["--images", str(made_images / "images"), "--output", str(out / "captions"), "--shard-size", "8"]
    assert main(["caption", *images, *model, "--report"]) == DONE
    from_features = ["--features", str(out / "features"), "--output", str(out / "from_features")]
    assert main(["caption", *from_features, *model]) == DONE
    speech = ["--captions", str(out / "captions"), "--output", str(out / "speech")]
    assert main(["speak", *speech]) == DONE
    return out


@pytest.mark.parametrize("output", ["features", "captions", "from_features", "speech"])
def test_everything_is_accounted_for(made: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(made / output)]) == DONE
    assert "is whole: 24 rows, 0 failures, 0 to do" in last_line(capsys)


def test_the_page_came_with_the_captions(made: Path) -> None:
    page = (made / "captions" / "report.html").read_text()
    assert page.count('<li class="card"') == page.count("data-maps=") == 24


def test_tensorflow_alone_reads_the_features(made: Path, made_images: Path) -> None:
    """The code of docs/formats.md."""
    text = Path("docs/formats.md").read_text()
    code = text.split("```python\n")[1].split("```")[0].replace("OUTPUT", str(made / "features"))
    scope: dict = {}
    exec(code, scope)
    found = {id.numpy().decode(): (grid.numpy(), captions.numpy().tolist()) for id, grid, captions in scope["images"]}
    annotations = json.loads((made_images / "captions.json").read_text())["annotations"]
    assert len(found) == 24
    for id, (grid, captions) in found.items():
        assert grid.shape == (8, 8, 2048)
        assert grid.dtype == np.float16
        assert np.isfinite(grid).all()
        assert captions == [item["caption"].encode() for item in annotations if str(item["image_id"]) == id]


def test_records_can_be_read_without_tensorflow(made: Path) -> None:
    count = 0
    for path in (made / "features" / "features").iterdir():
        data = gzip.decompress(path.read_bytes())
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            record, data = data[12 : 12 + length], data[16 + length :]
            assert b"features/values" in record
            count += 1
    assert count == 24


def test_captions_are_the_same_with_and_without_stored_features(made: Path) -> None:
    by_digest = {row["sha256"]: row for row in rows(made / "from_features" / "captions")}
    for row in rows(made / "captions" / "captions"):
        other = by_digest[row["sha256"]]
        assert row["caption"] == other["caption"]
        assert row["score"] == pytest.approx(other["score"], abs=1e-4)
        assert (row["width"], row["height"]) == (96, 64)
        assert row["alternatives"][0] == {"caption": row["caption"], "score": row["score"]}
        scores = [item["score"] for item in row["alternatives"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_captions_meet_their_references_with_and_without_stored_features(
    made: Path, made_images: Path, tmp_path: Path
) -> None:
    found = []
    for name in ("captions", "from_features"):
        asked = ["--captions", str(made / name), "--annotations", str(made_images / "captions.json")]
        assert main(["evaluate", *asked, "--output", str(tmp_path / f"{name}.json")]) == DONE
        found.append(json.loads((tmp_path / f"{name}.json").read_text())["captions"])
        assert found[-1].pop("output") == f"file://{made / name}"
        assert found[-1].pop("rows") == f"{name}.parquet"
        # Of stored features Pillow has no part in the captions any more.
        assert len(found[-1].pop("fingerprints")) == 1
        assert (found[-1]["images_with_caption"], found[-1]["images_without_caption"]) == (24, 0)
    assert found[0] == found[1]
    assert found[0]["scores"]["bleu_1"]["value"] > 0


def test_each_text_has_one_audio_file_that_plays(made: Path) -> None:
    index = rows(made / "speech" / "index")
    texts = {row["caption"] for row in index}
    files = [path for path in (made / "speech" / "audio").rglob("*") if path.is_file()]
    assert len(files) == len(texts) == len({row["audio_uri"] for row in index})
    for row in index:
        samples, rate = soundfile.read(made / "speech" / row["audio_uri"])
        assert rate == row["sample_rate"]
        assert len(samples) / rate == pytest.approx(row["duration_seconds"], abs=0.01)
        assert np.abs(samples).max() > 0.05


def test_bad_files_are_failure_rows(
    made: Path, made_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for path in sorted((made_images / "images").iterdir())[:5]:
        (photographs / path.name).write_bytes(path.read_bytes())
    good = (photographs / "blue-02.jpg").read_bytes()
    (photographs / "empty.jpg").write_bytes(b"")
    (photographs / "truncated.JPG").write_bytes(good[: len(good) // 2])
    (photographs / "text.jpg").write_text("<html>404</html>")
    (photographs / "notes.txt").write_text("not an image, and not named as one")
    output = tmp_path / "captions"
    command = ["caption", "--images", str(photographs), "--model", str(made / "bundle"), "--output", str(output)]
    assert main(command) == DONE
    assert "8 in the corpus: 5 done, 3 failed, 0 to do" in last_line(capsys)
    failures = {row["image_uri"].rsplit("/", 1)[-1]: row for row in rows(output / "failures")}
    assert {name: row["error_type"] for name, row in failures.items()} == {
        "empty.jpg": "EmptyFile",
        "truncated.JPG": "Truncated",
        "text.jpg": "NotAnImage",
    }
    whole = {row["sha256"]: row["caption"] for row in rows(made / "captions" / "captions")}
    for row in rows(output / "captions"):
        assert whole[row["sha256"]] == row["caption"]

    # Mended and tried again: the row beats the failure.
    (photographs / "empty.jpg").write_bytes(good)
    assert main([*command, "--retry-failed"]) == DONE
    assert "8 in the corpus: 6 done, 2 failed, 0 to do" in last_line(capsys)
    assert {row["attempts"] for row in rows(output / "failures")} == {2}
    assert main(["verify", str(output)]) == DONE


def test_a_damaged_features_file_costs_its_own_images_only(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "features", tmp_path / "features")
    victim = sorted((tmp_path / "features" / "features").iterdir())[0]
    data = bytearray(victim.read_bytes())
    data[-20] ^= 255  # The same size, so that only reading tells.
    victim.write_bytes(data)
    lost = sum(
        1 for receipt in (tmp_path / "features" / "_beamscribe" / "shards").iterdir() for _ in _ids(receipt, victim)
    )
    output = tmp_path / "captions"
    features = ["--features", str(tmp_path / "features"), "--model", str(made / "bundle")]
    assert main(["caption", *features, "--output", str(output)]) == DONE
    failures = rows(output / "failures")
    assert 0 < len(failures) <= lost
    assert {(row["stage"], row["error_type"]) for row in failures} == {("read", "DamagedRecordError")}
    assert len(rows(output / "captions")) == 24 - len(failures)
    assert main(["verify", str(output)]) == DONE


def _ids(receipt: Path, file: Path) -> list[str]:
    rows = json.loads(receipt.read_text())["rows"]
    return rows["ids"] if rows["name"].endswith(file.name) else []


@pytest.mark.nightly
def test_two_worker_processes_give_the_same_rows(made: Path, made_images: Path, tmp_path: Path) -> None:
    output = tmp_path / "captions"
    command = ["caption", "--images", str(made_images / "images"), "--model", str(made / "bundle")]
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2", "--shard-size", "4"]
    assert main([*command, "--output", str(output), *workers]) == DONE
    one = {row["id"]: row["caption"] for row in rows(made / "captions" / "captions")}
    assert {row["id"]: row["caption"] for row in rows(output / "captions")} == one


def test_changed_settings_are_refused_field_by_field(
    made: Path, made_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ["--images", str(made_images / "images"), "--model", str(made / "bundle")]
    before = rows(made / "captions" / "captions")
    assert main(["caption", *images, "--output", str(made / "captions"), "--beam-size", "2"]) == REFUSED
    message = capsys.readouterr().err
    assert "beam_size: 3 → 2" in message
    assert "--on-change" in message
    assert "Traceback" not in message
    assert main(["caption", *images, "--output", str(made / "speech")]) == REFUSED
    assert "holds the output of speak" in capsys.readouterr().err
    assert rows(made / "captions" / "captions") == before


@pytest.mark.nightly
def test_real_photographs(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco, weights = shared / "coco-mini", shared / "weights" / "inception_v3_notop.weights.h5"
    for split, count in (("train2017", 80), ("val2017", 79)):
        annotations = ["--annotations", str(coco / "annotations" / f"captions_{split}.json")]
        images = ["--images", str(coco / split), "--backbone-weights", str(weights)]
        assert main(["featurize", *annotations, *images, "--output", str(tmp_path / split)]) == DONE
        assert f"{count} in the corpus: {count} done, 0 failed" in last_line(capsys)
    files = tf.io.gfile.glob(str(tmp_path / "train2017" / "features" / "*"))
    captions = [
        len(tf.train.Example.FromString(record.numpy()).features.feature["captions/text"].bytes_list.value)
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP")
    ]
    assert Counter(captions) == {5: 80}
    data = ["--features", str(tmp_path / "train2017"), "--validation", str(tmp_path / "val2017")]
    trained = main(["train", *data, "--output", str(tmp_path / "bundle"), "--epochs", "2"])
    metrics = json.loads((tmp_path / "bundle" / "metrics.json").read_text())
    better = metrics["validation_token_loss"] < metrics["frequency_loss"]
    assert trained == (DONE if better else CHECK_FAILED)
    images = ["--images", str(coco / "train2017"), str(coco / "val2017"), "--model", str(tmp_path / "bundle")]
    assert main(["caption", *images, "--output", str(tmp_path / "captions"), "--beam-size", "3"]) == DONE
    assert "239 in the corpus: 239 done, 0 failed, 0 to do" in last_line(capsys)
    speech = ["--captions", str(tmp_path / "captions"), "--output", str(tmp_path / "speech")]
    assert main(["speak", *speech]) == DONE
    assert len(rows(tmp_path / "captions" / "captions")) == len(rows(tmp_path / "speech" / "index")) == 239
    for output in ("train2017", "val2017", "captions", "speech"):
        assert main(["verify", str(tmp_path / output)]) == DONE
