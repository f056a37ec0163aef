import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.tokenizer import PAD, START, Tokenizer, learn_vocabulary
from schemas.command import RefusedError
from schemas.feature_example import FeatureExample
from training.dataset import FeatureSet, TokenSet, read_features, tokenize, training_batches, validation_batches

Write = Callable[..., str]
Make = Callable[..., FeatureExample]


@pytest.fixture
def material(tmp_path: Path, write_features: Write, example: Make) -> tuple[FeatureSet, TokenSet]:
    """Seven images in two files: six with two captions, the last with three."""
    output = write_features("train", [example(i) for i in range(4)], [example(4), example(5), example(6, captions=3)])
    features = read_features([output], str(tmp_path / "cache"), {})
    tokenizer = Tokenizer(learn_vocabulary((text for texts in features.captions for text in texts), 200))
    return features, tokenize(features, tokenizer, 12)


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


def test_tokens_keep_captions_with_their_images(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    assert tokens.offsets.tolist() == [0, 2, 4, 6, 8, 10, 12, 15]
    assert tokens.rows.shape == (15, 12)
    assert (tokens.rows[:, 0] == START).all()


def test_an_epoch_sees_each_image_once_in_an_order_of_seed_and_epoch_alone(
    material: tuple[FeatureSet, TokenSet],
) -> None:
    features, tokens = material

    def images(batches: list) -> list[bytes]:
        return [grid.tobytes() for (grids, _), _ in batches for grid in grids]

    def two_epochs(seed: int, first: int, steps: int = 6) -> list:
        return list(itertools.islice(training_batches(features, tokens, 2, 2, seed, first), steps))

    straight = two_epochs(seed=1, first=0)
    for epoch in (straight[:3], straight[3:]):
        assert len(set(images(epoch))) == 6
    assert images(straight[:3]) != images(straight[3:])
    resumed = two_epochs(seed=1, first=1, steps=3)
    for ((grids, given), wanted), ((other_grids, other_given), other_wanted) in zip(straight[3:], resumed, strict=True):
        np.testing.assert_array_equal(grids, other_grids)
        np.testing.assert_array_equal(given, other_given)
        np.testing.assert_array_equal(wanted, other_wanted)
    assert images(two_epochs(seed=2, first=0)) != images(straight)


def test_batches_have_one_shape_and_shifted_tokens(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    for (grids, given), wanted in itertools.islice(training_batches(features, tokens, 3, 4, 0, 0), 4):
        assert (grids.shape, given.shape, wanted.shape) == ((3, 4, 8), (3, 4, 11), (3, 4, 11))
        np.testing.assert_array_equal(given[..., 1:], wanted[..., :-1])
        assert (given[:, :2, 0] == START).all()
        assert (wanted[:, 3] == PAD).all()  # No image has four captions.


def test_a_caption_is_never_paired_with_another_image(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    own = {
        features.features[i].tobytes(): {
            row.tobytes() for row in tokens.rows[tokens.offsets[i] : tokens.offsets[i + 1]]
        }
        for i in range(7)
    }
    for (grids, given), wanted in itertools.islice(training_batches(features, tokens, 3, 2, 0, 0), 20):
        for grid, row_given, row_wanted in zip(grids, given, wanted, strict=True):
            for start, rest in zip(row_given, row_wanted, strict=True):
                assert np.concatenate([start[:1], rest]).tobytes() in own[grid.tobytes()]


def test_validation_sees_everything_once_and_pads_the_rest(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    batches = list(validation_batches(features, tokens, 4, 2))
    assert [grids.shape[0] for (grids, _), _ in batches] == [4, 4]
    seen = np.concatenate([grids for (grids, _), _ in batches])
    np.testing.assert_array_equal(seen[:7], features.features)
    assert not seen[7].any()
    assert (batches[1][1][3] == PAD).all()


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
