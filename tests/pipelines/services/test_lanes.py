import time

from beamscribe.pipelines.services.lanes import DEAD_AFTER_HEARTBEATS, FOLDER, IDLE_HEARTBEATS, Lanes

BEAT = 0.03


def lanes_of(output, run="r"):
    return Lanes(output, run, BEAT)


def until(condition):
    """Waits, a second at most; says whether it came true."""
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(BEAT / 3)
    return condition()


def test_alone_there_is_no_waiting(output):
    lane = Lanes(output, "r", heartbeat_seconds=30.0)
    began = time.monotonic()
    assert lane.count() == 1
    assert time.monotonic() - began < 5
    lane.leave()
    assert output.files(FOLDER) == []


def test_who_joins_waits_until_the_others_know(output):
    first, second = lanes_of(output), lanes_of(output)
    assert first.count() == 1
    began = time.monotonic()
    assert second.count() == 2
    assert time.monotonic() - began >= 2 * BEAT
    assert until(lambda: first.count() == second.count() == 2)
    second.leave()
    assert until(lambda: first.count() == 1)
    first.leave()


def test_a_lane_that_does_not_ask_is_given_back_and_taken_again(output):
    first, second = lanes_of(output), lanes_of(output)
    first.count()
    second.count()
    time.sleep(BEAT * IDLE_HEARTBEATS)
    assert until(lambda: output.files(FOLDER) == [])
    assert second.count() == 1
    assert len(output.files(FOLDER)) == 1
    second.leave()


def test_a_lane_of_a_process_that_died_counts_for_a_while(output):
    output.write(f"{FOLDER}/r-dead", b".")
    lane = lanes_of(output)
    assert lane.count() == 2
    ends = time.monotonic() + BEAT * DEAD_AFTER_HEARTBEATS
    assert until(lambda: lane.count() == 1 or time.monotonic() > ends + 4)
    assert lane.count() == 1
    lane.leave()


def test_lanes_of_earlier_runs_are_cleared_away(output):
    output.write(f"{FOLDER}/earlier-1", b".")
    lane = lanes_of(output)
    assert lane.count() == 1
    assert len(output.files(FOLDER)) == 1
    lane.leave()
    lane.leave()


def test_storage_that_does_not_answer_leaves_the_shares_as_they_are(local, monkeypatch):
    heartbeat = 0.2  # so long that no lane counts as idle while the machine is busy with something else
    first, second = Lanes(local, "r", heartbeat), Lanes(local, "r", heartbeat)
    first.count()
    second.count()
    assert until(lambda: first.count() == second.count() == 2)

    def fail(self, folder, suffix=""):
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("beamscribe.storage.storage.Storage.files", fail)
        for _ in range(10):
            time.sleep(heartbeat / 4)
            assert (first.count(), second.count()) == (2, 2)
    first.leave()
    second.leave()
