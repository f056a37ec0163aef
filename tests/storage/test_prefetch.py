import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.storage.prefetch import GROUP, GROUPS_AHEAD, prefetch, prefetch_as_needed, prefetch_from_each


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=20), st.integers(1, 4), st.integers(1, 9))
def test_results_come_in_order_whatever_takes_longest(items, threads, ahead):
    def slow(item):
        time.sleep((item % 3) / 1000)
        return item * 2

    assert list(prefetch(slow, iter(items), threads, ahead)) == [item * 2 for item in items]


def test_no_more_is_taken_than_may_be_under_way():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = prefetch(str, items(), threads=2, ahead=5)
    assert next(results) == "0"
    assert len(taken) == 5
    assert next(results) == "1"
    assert len(taken) == 6


def test_as_many_are_under_way_as_there_are_threads():
    together = threading.Barrier(3, timeout=20)
    assert list(prefetch(lambda _: together.wait() >= 0, range(6), threads=3, ahead=3)) == [True] * 6


def test_an_error_comes_in_its_turn_and_ends_the_rest():
    called = []

    def divide(item):
        called.append(item)
        time.sleep(0.01)
        return 1 // item

    results = prefetch(divide, [1, 1, 0, *range(1, 100)], threads=1, ahead=50)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(called) < 20


def test_an_interrupt_does_not_wait_for_what_is_under_way():
    answer, interrupted = threading.Event(), threading.Event()

    def once(number, frame):
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def interrupt():
        # A signal that arrives just before the main thread begins to wait is seen only when the next one comes.
        while not interrupted.wait(0.5):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, once)
    try:
        thread.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(prefetch(lambda _: answer.wait(30), range(5), threads=2, ahead=4))
        assert time.monotonic() - began < 20
    finally:
        interrupted.set()
        answer.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_heavy_items_count_for_several_of_those_that_are_ahead():
    taken = []

    def items():
        for weight in [5, 1, 1, 5, 5, 1, 1, 1]:
            taken.append(weight)
            yield weight

    results = prefetch_as_needed(lambda weight: weight, items(), 4, lambda weight: weight)
    assert next(results) == 5
    assert taken == [5], "as many as two"
    assert list(results) == [1, 1, 5, 5, 1, 1, 1]
    assert list(prefetch_as_needed(str, range(9), 4)) == [*"012345678"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * GROUP), max_size=8), st.integers(1, 4))
def test_all_of_each_item_comes_in_order(sizes, most):
    items = list(enumerate(sizes))
    found = prefetch_from_each(lambda item: ((item[0], number) for number in range(item[1])), iter(items), most)
    assert list(found) == [(place, number) for place, size in items for number in range(size)]


def test_items_are_gone_through_side_by_side_each_ahead_by_so_much():
    together = threading.Barrier(3, timeout=20)
    passed = [0, 0, 0, 0]

    def numbers(item):
        if item < 3:
            together.wait()
        for number in range(100 * GROUP):
            passed[item] += 1
            yield item, number

    found = prefetch_from_each(numbers, range(4), 3)
    assert next(found) == (0, 0)
    until(lambda: all(count >= GROUP * GROUPS_AHEAD for count in passed[:3]))
    found.close()
    ahead = list(passed)
    # The one that is taken from, one group that is handed over, and one that is being made.
    assert max(ahead) <= (GROUPS_AHEAD + 3) * GROUP
    assert ahead[3] == 0
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("ahead")])
    assert max(passed) <= max(ahead) + GROUP


def test_an_error_comes_behind_what_its_item_has_given():
    def failing(item):
        yield item
        if item == 1:
            raise ValueError("not this one")

    found = prefetch_from_each(failing, [0, 1, 2], 2)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="not this one"):
        next(found)


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
