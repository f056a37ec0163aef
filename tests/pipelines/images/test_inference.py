import numpy as np
import pytest
import tensorflow as tf

from beamscribe.pipelines.images.inference import Inference

pytestmark = pytest.mark.slow

POISON = 66


class FakeModel:
    """Doubles one number; raises where a batch holds poison, or more images than its memory."""

    def __init__(self, memory: int = 100, broken: bool = False) -> None:
        self.memory, self.broken, self.sizes = memory, broken, []

    def __call__(self, batch: np.ndarray) -> list[int]:
        self.sizes.append(len(batch))
        if len(batch) > self.memory:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        if self.broken or POISON in batch:
            raise ValueError(f"cannot take {POISON}")
        return [int(item.sum()) * 2 for item in batch]


def results(inference: Inference, numbers: list[int]) -> list:
    found = inference([np.array([number], np.uint8) for number in numbers])
    return [type(item).__name__ if isinstance(item, Exception) else item for item in found]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 9])
def test_batches_of_one_size(count: int) -> None:
    model = FakeModel()
    assert results(Inference(model, 4), list(range(count))) == [2 * n for n in range(count)]
    assert model.sizes == [4] * -(-count // 4)


@pytest.mark.parametrize(
    ("count", "sizes"), [(16, [16]), (17, [16, 4]), (13, [16]), (12, [4, 4, 4]), (5, [4, 4]), (28, [16, 4, 4, 4])]
)
def test_a_tail_is_cut_into_quarters_where_that_spares_padding(count: int, sizes: list[int]) -> None:
    model = FakeModel()
    assert results(Inference(model, 16), list(range(count))) == [2 * n for n in range(count)]
    assert model.sizes == sizes


def test_warming_up_calls_both_sizes_and_tells_of_a_broken_model() -> None:
    model = FakeModel()
    Inference(model, 16).warm_up((1,), np.uint8)
    assert model.sizes == [16, 4]
    with pytest.raises(ValueError, match="cannot take"):
        Inference(FakeModel(broken=True), 16).warm_up((1,), np.uint8)


@pytest.mark.parametrize("guilty", [[0], [3], [7], [2, 5], [0, 1, 2, 3], list(range(8))])
def test_only_the_guilty_fail(guilty: list[int]) -> None:
    numbers = [POISON if n in guilty else n for n in range(8)]
    model = FakeModel()
    expected = ["ValueError" if n in guilty else 2 * n for n in range(8)]
    assert results(Inference(model, 4), numbers) == expected
    # One shape, so nothing is compiled anew.
    assert set(model.sizes) == {4}


def test_a_model_that_takes_nothing_is_no_fault_of_an_image() -> None:
    with pytest.raises(ValueError, match="cannot take"):
        results(Inference(FakeModel(broken=True), 4), [1, 2, 3])


def test_too_little_memory_halves_the_batch_and_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    model = FakeModel(memory=3)
    inference = Inference(model, 8)
    assert results(inference, list(range(8))) == [2 * n for n in range(8)]
    assert model.sizes == [8, 4, 2, 2, 2, 2]
    assert "from here on 2 images a batch" in capsys.readouterr().out
    model.sizes.clear()
    assert results(inference, [1, 2, 3]) == [2, 4, 6]
    assert model.sizes == [2, 2]


def test_too_little_memory_for_one_image_stops_the_job() -> None:
    with pytest.raises(tf.errors.ResourceExhaustedError):
        results(Inference(FakeModel(memory=0), 2), [1])
