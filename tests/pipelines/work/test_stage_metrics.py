import time

from beamscribe.pipelines.work.stopwatch import Stopwatch, metrics_lines
from beamscribe.schemas.stage_metrics import NOTHING, StageMetrics, total


def test_parts_are_added_field_by_field() -> None:
    assert total([]) == NOTHING
    assert total([StageMetrics(1.0, batches=1), StageMetrics(2.0, 3.0, batches=1, duplicates=4)]) == StageMetrics(
        3.0, 3.0, batches=2, duplicates=4
    )


def test_a_stopwatch_counts_only_what_is_inside() -> None:
    watch = Stopwatch()
    with watch.running():
        time.sleep(0.02)
    counted = watch.msec
    time.sleep(0.02)
    assert watch.msec == counted >= 20
    with watch.running():
        time.sleep(0.01)
    assert watch.msec >= counted + 10


def test_people_are_told_of_stages_and_duplicates() -> None:
    assert metrics_lines(NOTHING) == []
    stages, read, duplicates = metrics_lines(StageMetrics(1000, 2000, 30_000, 40, 2, 33, 5, 1_234_567))
    assert (
        stages
        == "stages, summed over threads: read 1.0 s, decode 2.0 s, infer 30.0 s, write 0.0 s; 16.5 images a batch"
    )
    assert read == "1,234,567 bytes of images read"
    assert duplicates.startswith("5 duplicates")
