import pytest

from pipelines.corpora.corpus import Corpus, Skipped, distinct, sampled
from pipelines.corpora.reference import Reference
from pipelines.corpora.references import References


def test_limit_takes_the_first_and_still_counts_their_repeats():
    references = [Reference(id, id) for id in "abacbdb"]
    corpus = distinct(references, limit=2)
    kept = References.of((Reference("a", "a"), Reference("b", "b")))
    assert corpus == Corpus(kept, repeated=3, skipped={"beyond --limit": 2}, listed=7)
    assert len(distinct(references).references) == 4


def test_the_first_reference_of_an_id_stays():
    corpus = distinct([Reference("1", "first.jpg"), Reference("1", "second.jpg")])
    assert list(corpus.references) == [Reference("1", "first.jpg")]


@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_sample_is_the_same_whatever_the_order(size):
    references = [Reference(str(number), str(number)) for number in range(20)]
    chosen = sampled(distinct(references), size)
    assert len(chosen.references) == size
    assert set(sampled(distinct(references[::-1]), size).references) == set(chosen.references)
    assert list(chosen.references) == sorted(chosen.references, key=references.index)


def test_a_larger_sample_holds_the_smaller():
    corpus = distinct(Reference(str(number), str(number)) for number in range(20))
    assert set(sampled(corpus, 5).references) < set(sampled(corpus, 6).references)
    assert sampled(corpus, None) == sampled(corpus, 21) == corpus
    assert sampled(corpus, 5).skipped == {"not in --sample": 15}


def test_what_is_skipped_is_counted_by_reason():
    found = [
        Skipped("broken link"),
        Reference("a", "a"),
        Skipped("hidden file", 3),
        Reference("a", "a"),
        Skipped("broken link"),
    ]
    corpus = distinct(found)
    assert (len(corpus.references), corpus.repeated, corpus.listed) == (1, 1, 7)
    assert corpus.skipped == {"broken link": 2, "hidden file": 3}
