"""Packed captions: what comes out of a batch is what went in."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.model.tokenizer import END, PAD, START, Tokenizer, learn_vocabulary
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.training.batches import MULTIPLE, Batch, pack, steps_an_epoch, training_batches, validation_batches
from beamscribe.training.dataset import FeatureSet, read_features
from beamscribe.training.material import TokenSet, tokenize
from beamscribe.training.plan import Plan

pytestmark = pytest.mark.slow

Write = Callable[..., str]
Make = Callable[..., FeatureExample]

captions = st.lists(st.integers(4, 99), max_size=9).map(lambda words: np.array([START, *words, END], np.int32))


def unpack(tokens: np.ndarray, wanted: np.ndarray) -> list[list[int]]:
    """The captions of one row."""
    found: list[list[int]] = []
    for read, said in zip(tokens.tolist(), wanted.tolist(), strict=True):
        if read == START:
            found.append([START])
        if read != PAD:
            assert found[-1][-1] == read
            found[-1].append(said)
    return found


@settings(deadline=None)
@given(st.lists(st.lists(captions, max_size=6), min_size=1, max_size=5))
def test_packing_loses_nothing(rows: list[list[np.ndarray]]) -> None:
    tokens, wanted = pack(rows)
    assert tokens.shape == wanted.shape
    assert tokens.shape[1] % MULTIPLE == 0
    assert ((tokens == PAD) == (wanted == PAD)).all()
    for row, read, said in zip(rows, tokens, wanted, strict=True):
        assert unpack(read, said) == [caption.tolist() for caption in row]


EVERY = Plan.of(np.ones(7))
"""Each of the images below once an epoch."""


@pytest.fixture
def material(tmp_path: Path, write_features: Write, example: Make) -> tuple[FeatureSet, TokenSet]:
    """Seven images in two files: six with two captions, the last with three."""
    output = write_features("train", [example(i) for i in range(4)], [example(4), example(5), example(6, captions=3)])
    features = read_features([output], str(tmp_path / "cache"), {})
    tokenizer = Tokenizer(learn_vocabulary((text for texts in features.captions for text in texts), 200))
    return features, tokenize(features, tokenizer, 12)


def test_tokens_keep_captions_with_their_images(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    assert tokens.offsets.tolist() == [0, 2, 4, 6, 8, 10, 12, 15]
    assert tokens.rows.shape == (15, 12)
    assert (tokens.rows[:, 0] == START).all()
    for index in range(15):
        caption = tokens.caption(index)
        assert (caption[0], caption[-1]) == (START, END)
        assert PAD not in caption


def test_an_epoch_sees_each_image_once_in_an_order_of_seed_and_epoch_alone(
    material: tuple[FeatureSet, TokenSet],
) -> None:
    features, tokens = material
    assert steps_an_epoch(EVERY, 2) == 3

    def images(batches: list[Batch]) -> list[bytes]:
        return [grid.tobytes() for batch in batches for grid in batch.inputs]

    def two_epochs(seed: int, first: int, steps: int = 6) -> list[Batch]:
        return list(itertools.islice(training_batches(features, tokens, EVERY, 2, 2, seed, first), steps))

    straight = two_epochs(seed=1, first=0)
    for epoch in (straight[:3], straight[3:]):
        assert len(set(images(epoch))) == 6
    assert images(straight[:3]) != images(straight[3:])
    for one, other in zip(straight[3:], two_epochs(seed=1, first=1, steps=3), strict=True):
        for array, again in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, again)
    assert images(two_epochs(seed=2, first=0)) != images(straight)


def test_a_caption_is_never_paired_with_another_image(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    own = {
        features.features[i].tobytes(): [
            tokens.caption(index).tolist() for index in range(tokens.offsets[i], tokens.offsets[i + 1])
        ]
        for i in range(7)
    }
    seen = []
    for batch in itertools.islice(training_batches(features, tokens, EVERY, 3, 2, 0, 0), 20):
        for grid, read, said in zip(*batch, strict=True):
            found = unpack(read, said)
            assert len(found) == 2
            assert all(caption in own[grid.tobytes()] for caption in found)
            seen += found
    assert len({tuple(caption) for caption in seen}) == len({tuple(c) for captions in own.values() for c in captions})


def test_images_of_about_as_many_words_come_together() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 30, 400)
    rows = np.array([[5] * length + [PAD] * (30 - length) for length in lengths], np.int32)
    ids = tuple(map(str, range(400)))
    features = FeatureSet(
        ids,
        ids,
        ids,
        np.zeros(400, bool),
        np.zeros((400, 1, 1)),
        np.arange(400),
        ((),) * 400,
        (1, 1, 1),
        "",
        "",
        "",
        0,
        np.zeros(400),
    )
    batches = itertools.islice(
        training_batches(features, TokenSet(rows, np.arange(401)), Plan.of(np.ones(400)), 10, 1, 0, 0), 40
    )
    places = [batch.tokens for batch in batches]
    assert sum((tokens == PAD).sum() for tokens in places) < 0.3 * sum(tokens.size for tokens in places)
    widths = [tokens.shape[1] for tokens in places]
    assert widths != sorted(widths)  # shorter ones are not seen first


def test_validation_sees_everything_once_and_pads_the_rest(material: tuple[FeatureSet, TokenSet]) -> None:
    features, tokens = material
    batches = list(validation_batches(features, tokens, 4))
    assert [len(batch.inputs) for batch in batches] == [4, 4]
    seen = np.concatenate([batch.inputs for batch in batches])
    np.testing.assert_array_equal(seen[:7], features.features)
    assert not seen[7].any()
    assert (batches[1].wanted[3] == PAD).all()
    assert len(unpack(batches[1].tokens[2], batches[1].wanted[2])) == 3


def test_shares_say_how_often_an_epoch_shows_an_image() -> None:
    plan = Plan.of(np.array([0.5] * 10 + [1.0] * 10 + [3.0] * 10))
    assert plan.images == 45
    seen = np.bincount(plan.order(np.random.default_rng(0)), minlength=30)
    assert seen[:10].sum() == 5
    assert seen[:10].max() == 1
    assert (seen[10:20] == 1).all()
    assert (seen[20:] == 3).all()
    few = Plan.of(plan.shares, images=15)
    orders = [few.order(np.random.default_rng(epoch)) for epoch in range(40)]
    assert {len(order) for order in orders} == {15}
    counts = np.bincount(np.concatenate(orders), minlength=30)
    # A third of an epoch each: 40 of them show an image 40 / 3 times its share.
    assert np.abs(counts[20:].mean() - 40) < 1
    assert (counts[:10] > 0).all()
