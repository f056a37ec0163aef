import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.storage.prefetch import prefetch, prefetch_as_needed


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
