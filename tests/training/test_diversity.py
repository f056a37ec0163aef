import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.schemas.evaluation import Diversity, MissingWord
from beamscribe.training.diversity import SHOWN_WORDS, measure_diversity

TEXTS = st.lists(st.lists(st.sampled_from(["a", "dog", "cat", "runs", "sits"]), max_size=4).map(" ".join), min_size=1)


def test_by_hand() -> None:
    captions = ["A dog runs.", "A dog.", "A dog runs.", "A cat runs"]
    tokenized = ["a dog runs", "a dog", "a dog runs", "a cat runs"]
    references = ["a dog runs fast", "two dogs", "two cats", "a cat"]
    assert measure_diversity(captions, tokenized, references) == Diversity(
        distinct_captions=3,
        mean_words=11 / 4,
        most_frequent_caption="A dog runs.",
        most_frequent_share=0.5,
        reference_words=8,
        words_never_produced=4,
        missing_words=(MissingWord("two", 2), MissingWord("cats", 1), MissingWord("dogs", 1), MissingWord("fast", 1)),
    )


def test_only_the_most_frequent_missing_words_are_named() -> None:
    found = measure_diversity(["A dog."], ["a dog"], [f"word{number} again" for number in range(50)])
    assert found.words_never_produced == found.reference_words == 51
    assert found.missing_words[0] == MissingWord("again", 50)
    assert len(found.missing_words) == SHOWN_WORDS


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_laws(captions: list[str], references: list[str]) -> None:
    found = measure_diversity(captions, captions, references)
    assert 1 <= found.distinct_captions <= len(captions)
    assert 1 / found.distinct_captions <= found.most_frequent_share + 1e-12 <= 1 + 1e-12
    assert found.most_frequent_caption in captions
    assert found.words_never_produced <= found.reference_words
    # A caption that says it all leaves nothing to say; one of words that nobody wrote changes nothing.
    assert measure_diversity(captions, [*captions, *references], references).words_never_produced == 0
    assert measure_diversity(captions, [*captions, "zebra"], references).missing_words == found.missing_words


def test_empty_captions_count_as_captions_without_words() -> None:
    found = measure_diversity(["", "", "A dog."], ["", "", "a dog"], ["a dog"])
    assert found.mean_words == pytest.approx(2 / 3)
    assert (found.most_frequent_caption, found.distinct_captions) == ("", 2)
