import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.features import list_features
from beamscribe.schemas import failure_row
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.table import to_table
from beamscribe.training.dataset import read_features, split

pytestmark = pytest.mark.slow

Write = Callable[..., str]
Make = Callable[..., FeatureExample]


def test_features_come_back_as_written(tmp_path: Path, write_features: Write, example: Make) -> None:
    first = write_features("a", [example(0)], [example(1), example(2, captions=0)])
    second = write_features("b", [example(3)])
    for _ in range(2):  # The second time from the cache.
        found = read_features([first, second], str(tmp_path / "cache"), {})
        assert found.ids == ("0", "1", "3")
        assert found.without_captions == 1
        assert found.features.shape == (3, 4, 8)
        assert found.features[2].tobytes() == example(3).features
        assert found.captions[1] == example(1).captions
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_share_is_held_out_by_id(tmp_path: Path, write_features: Write, example: Make) -> None:
    images = [example(i) for i in range(40)]
    first = read_features([write_features("a", images)], str(tmp_path / "cache"), {})
    kept, held = split(first, 0.25)
    assert sorted(kept.ids + held.ids, key=int) == [str(i) for i in range(40)]
    assert 3 <= len(held.ids) <= 17
    for part in (kept, held):
        for place, identifier in enumerate(part.ids):
            assert part.inputs(np.array([place]))[0].tobytes() == example(int(identifier)).features
            assert part.captions[place] == example(int(identifier)).captions

    # More images, and mirror images under the same ids, change nothing for those that were there.
    mirrored = [item._replace(features=np.frombuffer(item.features, "<f2")[::-1].tobytes()) for item in images]
    more = [write_features("b", mirrored), write_features("c", [example(i) for i in range(40, 50)])]
    both = read_features([str(tmp_path / "a"), *more], str(tmp_path / "cache"), {})
    more_kept, more_held = split(both, 0.25)
    assert set(held.ids) == {identifier for identifier in more_held.ids if int(identifier) < 40}
    assert len(set(more_held.ids)) == len(more_held.ids)
    assert sorted(more_kept.ids).count(kept.ids[0]) == 2
    assert not set(more_kept.ids) & set(more_held.ids)


def test_too_few_images_are_not_split(tmp_path: Path, write_features: Write, example: Make) -> None:
    features = read_features([write_features("a", [example(0)])], str(tmp_path / "cache"), {})
    with pytest.raises(RefusedError, match="too few to hold out 5%"):
        split(features, 0.05)


def test_records_that_cannot_be_learned_from_are_left_out(
    tmp_path: Path, write_features: Write, example: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    infinite = example(1)._replace(features=np.full(32, np.inf, "<f2").tobytes())
    replaced = example(2)._replace(fingerprint="f" * 16)
    found = read_features([write_features("a", [example(0), infinite, replaced])], str(tmp_path / "cache"), {})
    assert found.ids == ("0",)
    assert "1 image is left out, whose features are not finite, such as 1" in capsys.readouterr().out


def test_an_output_of_failures_alone_says_what_failed(tmp_path: Path, write_features: Write) -> None:
    output = write_features("a")
    started = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    rows = [
        FailureRow(f"file:///{n}.jpg", str(n), "read", kind, f"no {n}.jpg\x1b[2J", 1, started)
        for n, kind in enumerate(["FileNotFoundError", "FileNotFoundError", "PermissionError"])
    ]
    (Path(output) / "failures").mkdir()
    pq.write_table(to_table(rows, failure_row.SCHEMA), Path(output) / "failures" / "a.parquet")
    (Path(output) / "failures" / "b.parquet").write_bytes(b"damaged")
    with pytest.raises(RefusedError) as refused:
        read_features([output], str(tmp_path / "cache"), {})
    assert str(refused.value) == (
        f"{output} holds no features: all its 3 images have failed, 2 of them with read: FileNotFoundError "
        "(no 0.jpg\\x1b[2J): mend that, and run beamscribe featurize again with --retry-failed"
    )


def test_what_is_no_output_of_featurize_is_refused(tmp_path: Path, write_features: Write, example: Make) -> None:
    cache = str(tmp_path / "cache")
    with pytest.raises(RefusedError, match="not an output of beamscribe featurize"):
        read_features([str(tmp_path)], cache, {})
    with pytest.raises(RefusedError, match="output of beamscribe caption"):
        read_features([write_features("captions", job="caption")], cache, {})
    with pytest.raises(RefusedError, match="holds no features"):
        read_features([write_features("empty")], cache, {})
    with pytest.raises(RefusedError, match="no image with a caption"):
        read_features([write_features("test", [example(0, captions=0)])], cache, {})
    outputs = [write_features("a", [example(0)]), write_features("b", [example(1)], weights_digest="other")]
    with pytest.raises(RefusedError, match="same backbone"):
        read_features(outputs, cache, {})
    damaged = write_features("damaged", [example(0)])
    file = next((Path(damaged) / "features").iterdir())
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(RefusedError, match="cannot be read"):
        read_features([damaged], cache, {})


def test_features_without_receipts_are_trained_on_and_captioned(
    tmp_path: Path, write_features: Write, example: Make
) -> None:
    """Data files are the truth: outputs of this fixture have no receipts, as one whose receipts are lost."""
    replaced = example(3)._replace(fingerprint="f" * 16)
    output = write_features("a", [example(0), example(1)], [example(2)], [replaced])
    assert read_features([output], str(tmp_path / "cache"), {}).ids == ("0", "1", "2")
    found = list_features([output], "inception_v3", "random-0", {}, None)
    assert [item.id for item in found.references] == ["0", "1", "2"]
    (Path(output) / "features" / "1.tfrecord.gz").write_bytes(b"damaged")
    with pytest.raises(RefusedError, match="1.tfrecord.gz"):
        list_features([output], "inception_v3", "random-0", {}, None)
