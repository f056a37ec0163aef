import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.work.shards import (
    PendingItem,
    Shard,
    ShardPlan,
    asked_digest,
    bucket,
    make_shard,
    shard_count,
    shard_name,
)
from beamscribe.pipelines.work.work_item import Member, WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from tests.pipelines.fake_job import reference

IDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
UNHURRIED = settings(deadline=None)  # the machine may be busy


@pytest.mark.parametrize(
    ("count", "size", "shards"),
    [
        (0, 256, 1),
        (1, 256, 1),
        (256, 256, 1),
        (257, 256, 2),
        (512, 256, 2),
        (513, 256, 4),
        (118_287, 256, 512),
        (5, 1, 8),
    ],
)
def test_shard_count(count, size, shards):
    assert shard_count(count, size) == shards


@UNHURRIED
@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_shard_count_is_the_least_power_of_two_that_keeps_the_average_in_size(count, size):
    shards = shard_count(count, size)
    assert shards.bit_count() == 1
    assert count <= shards * size
    assert shards == 1 or count > shards // 2 * size


# First 64 bits of BLAKE2b-64, by coreutils: printf 42 | b2sum -l 64
DIGESTS = {
    "42": 0x57B43CF02666687A,
    "file:///photos/a.jpg": 0x1585456FF81CBF7D,
    "café": 0x5777A2BD3192D7E3,
}


@pytest.mark.parametrize(("key", "digest"), DIGESTS.items())
def test_buckets_are_the_same_in_every_year(key, digest):
    for count in (1, 2, 1024, 3):
        assert bucket(key, count) == digest % count


def test_buckets_share_the_ids_evenly():
    counts = collections.Counter(bucket(f"file:///photos/{n}.jpg", 16) for n in range(16_000))
    assert set(counts) == set(range(16))
    assert all(850 < count < 1150 for count in counts.values())  # 1000 expected, five standard deviations


def test_shard_names():
    assert shard_name(reference("42"), 1024, 8) == f"{DIGESTS['42'] % 1024:05d}-of-01024"
    grouped = WorkItem("1", "u", text="Café!", group="café")
    assert shard_name(grouped, 1024, 8) == f"{DIGESTS['café'] % 1024:05d}-of-01024"
    inside = WorkItem("1", "u", container="file:///photos/a.jpg", group="café")
    assert shard_name(inside, 1024, 8) == f"{DIGESTS['file:///photos/a.jpg']:016x}"
    assert shard_name(inside, 2, 8) == shard_name(inside._replace(id="2", uri="v"), 1024, 2)


@UNHURRIED
@given(st.lists(IDS, unique=True, max_size=30), st.data(), st.sampled_from([1, 2, 8]))
def test_a_cut_holds_what_is_to_do_and_nothing_else(ids, data, count):
    kinds = {
        "loose": lambda place: WorkItem(ids[place], "u"),
        "grouped": lambda place: WorkItem(ids[place], "u", group=f"g{place % 2}"),
        "records": lambda place: WorkItem(ids[place], "u", container="a.tfrecord.gz"),
        "members": lambda place: WorkItem(ids[place], "u", container="a.zip", member=Member("zip", place, place)),
    }
    corpus = WorkItems.of(kinds[data.draw(st.sampled_from([*kinds]))](place) for place in range(len(ids)))
    places = np.array(sorted(data.draw(st.sets(st.integers(0, len(ids) - 1)) if ids else st.just(()))), np.int64)
    attempts = dict.fromkeys(ids[::3], 2)
    shards = list(ShardPlan(corpus, attempts, places, count, 4))
    assert len(ShardPlan(corpus, attempts, places, count, 4)) == len(shards)
    held = [item for shard in shards for item in shard.todo]
    assert sorted(held) == sorted(PendingItem(corpus[place], attempts.get(ids[place], 0)) for place in places)
    for shard in shards:
        assert {shard_name(item.reference, count, 4) for item in shard.todo} == {shard.name}
        assert shard == make_shard(shard.name, shard.todo)
    assert [shard.name for shard in shards] == sorted({shard.name for shard in shards})


@UNHURRIED
@given(st.permutations([("x", "2"), ("", "3"), ("x", "1"), ("a", "4"), ("", "20")]))
def test_a_shard_is_sorted_by_group_and_id(keys):
    items = [PendingItem(WorkItem(id, "u", group=group)) for group, id in keys]
    shard = make_shard("name", items)
    assert shard.name == "name"
    assert isinstance(shard, Shard)
    assert [item.reference.id for item in shard.todo] == ["20", "3", "4", "1", "2"]


@UNHURRIED
@given(st.lists(IDS, max_size=8), st.randoms(use_true_random=False))
def test_asked_digest_does_not_depend_on_order(ids, random):
    shuffled = ids.copy()
    random.shuffle(shuffled)
    assert asked_digest("f", shuffled) == asked_digest("f", ids)
    assert asked_digest("f", iter(ids)) == asked_digest("f", ids)


# No file name and no COCO id holds a NUL, which separates them.
NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=6)


@UNHURRIED
@given(st.tuples(NAMES, st.lists(NAMES, max_size=4)), st.tuples(NAMES, st.lists(NAMES, max_size=4)))
def test_asked_digest_tells_whatever_else_apart(one, other):
    same = one[0] == other[0] and sorted(one[1]) == sorted(other[1])
    assert (asked_digest(*one) == asked_digest(*other)) == same


@pytest.mark.parametrize(("one", "other"), [(["ab"], ["a", "b"]), (["a"], ["a", "a"]), ([""], []), (["a"], ["b"])])
def test_asked_digest_tells_near_misses_apart(one, other):
    assert asked_digest("f", one) != asked_digest("f", other)
    assert asked_digest("f", one) != asked_digest("g", one)


def test_asked_digest_is_the_same_in_every_year():
    # printf 'f\0a\0b' | b2sum -l 64
    assert asked_digest("f", ["b", "a"]) == "024ea657f7ea6ee2"
