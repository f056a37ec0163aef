import threading
import time

from beamscribe.storage.heartbeat import SIZES, Heartbeat, changing


def test_beats_until_it_is_stopped() -> None:
    beaten = threading.Semaphore(0)
    heartbeat = Heartbeat("x", lambda: beaten.release() is None, lambda: 0.005)
    heartbeat.start()
    for _ in range(3):
        assert beaten.acquire(timeout=10)
    assert not heartbeat.stopped
    heartbeat.stop(10)
    assert heartbeat.stopped
    assert not heartbeat.alive
    while beaten.acquire(blocking=False):
        pass
    assert not beaten.acquire(timeout=0.05)


def test_ends_when_the_function_says_so() -> None:
    answers = [True, True, False]
    heartbeat = Heartbeat("x", lambda: answers.pop(0), lambda: 0.0)
    heartbeat.start()
    ends = time.monotonic() + 10
    while heartbeat.alive and time.monotonic() < ends:
        time.sleep(0.005)
    assert answers == []
    assert not heartbeat.alive


def test_storage_that_does_not_answer_is_asked_again_and_a_beat_may_stop_its_own_heartbeat() -> None:
    beats = []

    def beat() -> bool:
        beats.append(len(beats))
        if len(beats) < 3:
            raise OSError("the network is gone")
        heartbeat.stop(10)
        return True

    heartbeat = Heartbeat("x", beat, lambda: 0.0)
    heartbeat.start()
    ends = time.monotonic() + 10
    while heartbeat.alive and time.monotonic() < ends:
        time.sleep(0.005)
    assert beats == [0, 1, 2]


def test_stopping_does_not_wait_for_a_beat_that_hangs() -> None:
    begun, hang = threading.Event(), threading.Event()
    heartbeat = Heartbeat("x", lambda: begun.set() is None and hang.wait(30), lambda: 0.0)
    heartbeat.start()
    assert begun.wait(10)
    began = time.monotonic()
    heartbeat.stop(0.05)
    assert time.monotonic() - began < 10
    assert heartbeat.alive
    hang.set()


def test_each_beat_gives_a_file_another_size() -> None:
    sizes = [len(changing(b"{}", beat)) for beat in range(2 * SIZES)]
    assert all(one != other for one, other in zip(sizes, sizes[1:], strict=False))
    assert len(set(sizes)) == SIZES
    assert changing(b"{}", 7).strip() == b"{}"
