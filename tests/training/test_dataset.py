from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from schemas.command import RefusedError
from schemas.feature_example import FeatureExample
from training.dataset import read_features, split

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
    mirrored = [item._replace(features=item.features[::-1]) for item in images]
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
