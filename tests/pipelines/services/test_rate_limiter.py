import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.pipelines.services.rate_limiter import USED, RateLimiter


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
def test_no_two_requests_are_nearer_than_the_share_allows(requests, rate):
    clock, sharers = Clock(), [1]
    pace = RateLimiter(rate, lambda: sharers[0], clock.now, clock.sleep)
    last = None
    for idle, sharing in requests:
        clock.time += idle
        sharers[0] = sharing
        asked = clock.time
        pace.wait()
        if last is not None:
            assert clock.time - last >= 60 / rate * sharing * (1 - 1e-9)
            assert clock.time <= max(asked, last + 60 / rate / USED * sharing) + 1e-9  # and none waits longer than that
        last = clock.time


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
