import threading
import time

import pytest

from beamscribe.pipelines.services.retry_policy import (
    ATTEMPTS,
    LONGEST_WAIT_SECONDS,
    Breaker,
    RetryPolicy,
    ServiceRefusesError,
)
from beamscribe.pipelines.speech.engine import SpeechError


class Service:
    """Fails as told, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return b"sound"


class FakeBreaker(Breaker):
    """Notes what it would have waited."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def sleep(self, seconds):
        if seconds:
            self.waits.append(seconds)
        super().sleep(0.0)


def busy(retry_after=None):
    return SpeechError("ServiceRefused", "429", passing=True, retry_after_seconds=retry_after)


def test_every_try_waits_for_its_turn():
    turns, breaker = [], FakeBreaker()
    service = Service(busy(), busy())
    assert RetryPolicy(lambda: turns.append(service.asked), breaker)(service) == b"sound"
    assert turns == [0, 1, 2]
    assert len(breaker.waits) == 2


def test_waits_grow_and_are_random():
    breaker = FakeBreaker()
    with pytest.raises(SpeechError):
        RetryPolicy(lambda: None, breaker)(Service(*[busy()] * 99))
    assert len(breaker.waits) == ATTEMPTS - 1
    assert all(0 <= wait <= 0.5 * 2**number for number, wait in enumerate(breaker.waits))
    assert sum(breaker.waits) > 0


def test_the_service_may_say_how_long():
    breaker = FakeBreaker()
    RetryPolicy(lambda: None, breaker)(Service(busy(17.0), busy(3.5)))
    assert [wait >= asked for wait, asked in zip(breaker.waits, (17.0, 3.5), strict=True)] == [True, True]
    assert breaker.waits[0] == 17.0


def test_who_wants_to_be_left_alone_for_long_is_left_alone():
    service, breaker = Service(busy(LONGEST_WAIT_SECONDS + 1)), FakeBreaker()
    with pytest.raises(SpeechError, match="429"):
        RetryPolicy(lambda: None, breaker)(service)
    assert (service.asked, breaker.waits) == (1, [])


@pytest.mark.parametrize("error", [SpeechError("ServiceRefused", "403"), ValueError("a bug")])
def test_what_does_not_pass_is_not_tried_again(error):
    service = Service(error)
    with pytest.raises(type(error)):
        RetryPolicy(lambda: None, FakeBreaker())(service)
    assert service.asked == 1


def test_refusals_in_a_row_trip_the_breaker():
    breaker = Breaker(3)
    breaker.refused("a", busy())
    breaker.refused("a", busy())  # one text is one text
    breaker.refused("b", busy())
    breaker.succeeded()
    breaker.refused("a", busy())
    breaker.refused("b", busy())
    breaker.check()
    with pytest.raises(ServiceRefusesError, match="refused 3 texts in a row, the last with: 429"):
        breaker.refused("c", busy())
    with pytest.raises(ServiceRefusesError):
        breaker.check()


def test_nobody_is_asked_and_nobody_waits_once_it_has_tripped():
    breaker = Breaker(1)
    ended = []

    def wait():
        with pytest.raises(ServiceRefusesError):
            breaker.sleep(60)
        ended.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    with pytest.raises(ServiceRefusesError):
        breaker.refused("a", busy())
    waiting.join(5)
    assert ended
    service = Service()
    with pytest.raises(ServiceRefusesError):
        RetryPolicy(lambda: None, breaker)(service)
    assert service.asked == 0
