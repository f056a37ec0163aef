import bisect
import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.pipelines.services.rate_limiter import CATCH_UP_SECONDS, USED, RateLimiter


class Clock:
    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        assert seconds > 0
        self.time += seconds


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 4)), min_size=2, max_size=40),
    st.sampled_from([1.0, 60.0, 1000.0]),
)
def test_requests_leave_as_the_share_allows(requests, rate):
    """Against the plain rule: one interval after the last was due, and at most so much is made up for."""
    clock, sharers = Clock(), [1]
    pace = RateLimiter(rate, lambda: sharers[0], clock.now, clock.sleep)
    last = None
    for idle, sharing in requests:
        clock.time += idle
        sharers[0] = sharing
        due = clock.time if last is None else last + 60 / rate / USED * sharing
        left = max(clock.time, due)
        pace.wait()
        assert clock.time == pytest.approx(left)
        last = max(due, left - CATCH_UP_SECONDS)


@pytest.mark.parametrize("rate", [30.0, 600.0, 3000.0])
@pytest.mark.parametrize("most_late", [0.05, 0.4, 3.0])
def test_late_wakings_break_no_budget(rate, most_late):
    """Threads wake late, and now and then nobody asks: a minute holds the budget at most, ten seconds 4 % more."""
    chance, clock = random.Random(0), Clock()

    def sleep(seconds):
        clock.sleep(seconds + chance.choice([0, most_late]) * chance.random())

    pace = RateLimiter(rate, now=clock.now, sleep=sleep)
    left = []
    while clock.time < 400:
        clock.time += chance.random() * chance.choice([0, 0, 0, 0.01, 0.01, 8])
        pace.wait()
        left.append(clock.time)
    for seconds, more in ((60.0, 1.0), (10.0, 1.04)):
        most = max(bisect.bisect_left(left, begin + seconds) - number for number, begin in enumerate(left))
        assert most <= rate / 60 * seconds * more + 1


@pytest.mark.parametrize("rate", [60.0, 600.0, 3000.0])
def test_late_wakings_waste_no_budget(rate):
    """A busy machine wakes each waiting thread a quarter of a second late, and the budget is used all the same."""
    clock = Clock()
    pace = RateLimiter(rate, now=clock.now, sleep=lambda seconds: clock.sleep(seconds + CATCH_UP_SECONDS / 2))
    count = round(rate)
    for _ in range(count + 1):
        pace.wait()
    assert count / (clock.time - 100.0) * 60 >= 0.97 * rate


def test_a_share_that_shrinks_holds_for_who_waits_already():
    clock, sharers = Clock(), [1]

    def sleep(seconds):
        clock.sleep(seconds)
        sharers[0] = 2

    pace = RateLimiter(6.0, lambda: sharers[0], clock.now, sleep)
    pace.wait()
    pace.wait()
    assert clock.time == pytest.approx(100.0 + 20.0 / USED)


def test_threads_take_turns():
    pace = RateLimiter(60 * 200)
    moments = []

    def ask():
        for _ in range(10):
            pace.wait()
            moments.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(moments) == 40
    assert max(moments) - began >= 39 / 200
