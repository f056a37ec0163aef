import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.work.work_item import Member, WorkItem
from beamscribe.pipelines.work.work_items import CHUNK, WorkItems
from beamscribe.schemas.coco import CocoCaption

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
CAPTIONS = st.lists(st.builds(CocoCaption, st.integers(), TEXT), max_size=2).map(tuple)
MEMBERS = st.none() | st.builds(Member, TEXT, st.integers(0), st.integers(0), st.integers(0), TEXT)
KEPT = st.none() | st.integers(0, 2**40)
ANY = st.builds(WorkItem, TEXT, TEXT, TEXT, CAPTIONS, TEXT, TEXT, TEXT, MEMBERS, kept=KEPT)
ITSELF = TEXT.map(lambda id: WorkItem(id, id))
UNHURRIED = settings(deadline=None)  # the machine may be busy


@pytest.mark.slow
@UNHURRIED
@given(st.lists(ANY | ITSELF, max_size=12), st.data())
def test_packed_references_are_those_that_were_packed(references, data):
    packed = WorkItems.of(iter(references))
    assert list(packed) == references
    assert packed == references
    assert len(packed) == len(references)
    assert [packed[place] for place in range(-len(references), 0)] == references
    assert packed.ids.to_pylist() == [reference.id for reference in references]
    places = data.draw(st.lists(st.sampled_from(range(len(references))))) if references else []
    assert list(packed.take(np.array(places, np.int64))) == [references[place] for place in places]
    cut = slice(*data.draw(st.tuples(st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9))))
    assert list(packed[cut]) == references[cut]
    assert pickle.loads(pickle.dumps(packed)) == packed


def test_many_are_packed_in_chunks_and_unpacked_in_order():
    references = [WorkItem(str(number), f"u{number}") for number in range(2 * CHUNK + 3)]
    packed = WorkItems.of(references)
    assert list(packed) == references
    assert packed[2 * CHUNK + 2] == references[-1]


def test_others_are_told_apart():
    packed = WorkItems.of([WorkItem("a", "a")])
    assert packed != [WorkItem("a", "b")]
    assert packed != [WorkItem("a", "a"), WorkItem("b", "b")]
    assert packed != WorkItems.of([WorkItem("a", "a", text="x")])
    assert packed != "a"
