"""The reward: against the reference, and by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from beamscribe.training.cider import CiderReward

caption = st.lists(st.integers(1, 6), min_size=1, max_size=12)
corpora = st.lists(st.lists(caption, min_size=1, max_size=3), min_size=2, max_size=5)


@settings(deadline=None)
@given(corpora, st.data())
def test_scores_are_the_reference_ones(references: list[list[list[int]]], data: st.DataObject) -> None:
    candidates = [data.draw(caption) for _ in references]

    def texts(captions: list[list[int]]) -> list[str]:
        return [" ".join(map(str, words)) for words in captions]

    _, expected = Cider().compute_score(
        {image: texts(captions) for image, captions in enumerate(references)},
        {image: texts([words]) for image, words in enumerate(candidates)},
    )
    reward = CiderReward(references)
    found = [reward.score(image, words) for image, words in enumerate(candidates)]
    assert found == pytest.approx(list(expected), abs=1e-9)


def test_document_frequencies_may_come_from_other_images() -> None:
    # Word 1 is in every one of 4 documents and weighs nothing; word 9 is in none and weighs log 4.
    documents = [[[1, 2]], [[1, 3]], [[1, 4]], [[1, 5]]]
    reward = CiderReward([[[1, 9]]], documents)
    assert reward.score(0, [1]) == 0
    # Order 1: 9 matches fully. Order 2: nothing to match. Bigrams: one against none.
    assert reward.score(0, [9]) == pytest.approx(10 * (1 / 4) * math.exp(-1 / 72))


def test_a_caption_that_breaks_off_scores_lower() -> None:
    end = 3
    reward = CiderReward([[[5, 6, 7, end]], [[8, 9, end]], [[8, 7, end]]])
    whole, broken, nothing = (reward.score(0, words) for words in ([5, 6, 7, end], [5, 6, 7], []))
    assert whole == pytest.approx(10.0)
    assert whole > broken > nothing == 0
