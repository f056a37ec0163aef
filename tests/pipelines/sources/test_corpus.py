import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct, sampled
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems


def test_limit_takes_the_first_and_still_counts_their_repeats():
    references = [WorkItem(id, id) for id in "abacbdb"]
    corpus = distinct(references, limit=2)
    kept = WorkItems.of((WorkItem("a", "a"), WorkItem("b", "b")))
    assert corpus == Corpus(kept, repeated=3, skipped={"beyond --limit": 2}, listed=7)
    assert len(distinct(references).references) == 4


def test_an_id_of_two_images_is_refused_by_name():
    found = [WorkItem("0", "0"), WorkItem("1", "first.jpg"), WorkItem("1", "first.jpg")]
    assert distinct(found).repeated == 1
    found += [
        WorkItem("1", "second.jpg"),
        WorkItem("2", "2"),
        WorkItem("first.jpg", "first.jpg"),
        WorkItem("0", "x"),
    ]
    says = (
        r"the corpus gives the id 1 to different images, first.jpg and second.jpg \(2 such references\): .*--id-column"
    )
    with pytest.raises(RefusedError, match=says):
        distinct(found)
    with pytest.raises(RefusedError, match="it gives the id 0 to different images, 0 and x: rename"):
        distinct([WorkItem("0", "0"), WorkItem("0", "x")], source="it", remedy="rename")
    # What --limit leaves out clashes with nothing.
    assert distinct([WorkItem("0", "0"), WorkItem("1", "a"), WorkItem("1", "b")], limit=1).skipped == {
        "beyond --limit": 2
    }


@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_sample_is_the_same_whatever_the_order(size):
    references = [WorkItem(str(number), str(number)) for number in range(20)]
    chosen = sampled(distinct(references), size)
    assert len(chosen.references) == size
    assert set(sampled(distinct(references[::-1]), size).references) == set(chosen.references)
    assert list(chosen.references) == sorted(chosen.references, key=references.index)


def test_a_larger_sample_holds_the_smaller():
    corpus = distinct(WorkItem(str(number), str(number)) for number in range(20))
    assert set(sampled(corpus, 5).references) < set(sampled(corpus, 6).references)
    assert sampled(corpus, None) == sampled(corpus, 21) == corpus
    assert sampled(corpus, 5).skipped == {"not in --sample": 15}


def test_what_is_skipped_is_counted_by_reason():
    found = [
        Skipped("broken link"),
        WorkItem("a", "a"),
        Skipped("hidden file", 3),
        WorkItem("a", "a"),
        Skipped("broken link"),
    ]
    corpus = distinct(found)
    assert (len(corpus.references), corpus.repeated, corpus.listed) == (1, 1, 7)
    assert corpus.skipped == {"broken link": 2, "hidden file": 3}
