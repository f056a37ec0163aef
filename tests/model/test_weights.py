"""Weights to an archive and back."""

import keras
import numpy as np
import pytest

from beamscribe.model.weights import arrays, assign, between, to_npz

pytestmark = pytest.mark.slow


def model(width: int = 3, seed: int = 0) -> keras.Model:
    """Two layers under a model of a name that no other has."""
    made = keras.Sequential([keras.layers.Dense(width, name="first"), keras.layers.Dense(2, name="second")])
    made.build((None, 4))
    generator = np.random.default_rng(seed)
    for weight in made.weights:
        weight.assign(generator.normal(size=weight.shape))
    return made


def test_equal_weights_give_equal_bytes() -> None:
    one, two = model(), model()
    assert one.name != two.name
    assert to_npz(one) == to_npz(two)
    assert to_npz(one) != to_npz(model(seed=1))


def test_an_archive_holds_every_variable_in_sixteen_bits() -> None:
    made = model()
    stored = arrays(to_npz(made))
    assert list(stored) == ["first/bias", "first/kernel", "second/bias", "second/kernel"]
    assert {array.dtype for array in stored.values()} == {np.dtype("float16")}
    np.testing.assert_array_equal(stored["second/kernel"], made.layers[1].kernel.numpy().astype(np.float16))


@pytest.mark.parametrize(
    ("value", "stored"),
    [(0.5, 0.5), (1.0 + 2**-11, 1.0), (1.0 + 3 * 2**-11, 1.0 + 2**-9), (1e-9, 0.0), (-65_504.0, -65_504.0)],
)
def test_numbers_are_rounded_to_the_nearest_half(value: float, stored: float) -> None:
    made, other = model(), model(seed=1)
    made.layers[0].bias.assign([value, 0, 0])
    assign(other, arrays(to_npz(made)))
    assert other.layers[0].bias.numpy().tolist() == [stored, 0, 0]
    assert other.layers[0].bias.dtype == "float32"


def test_halfway_is_the_mean_of_both() -> None:
    one, two = model(), model(seed=1)
    found = arrays(between(to_npz(one), to_npz(two), 0.5))
    for name, values in arrays(to_npz(one)).items():
        expected = (values.astype(np.float32) + arrays(to_npz(two))[name]) / 2
        np.testing.assert_array_equal(found[name], expected.astype(np.float16))
    assert between(to_npz(one), to_npz(one), 0.5) == to_npz(one)
    assert between(to_npz(one), to_npz(two), 1.0) == to_npz(two)


def test_the_second_rounding_changes_nothing() -> None:
    made, other = model(), model(seed=1)
    data = to_npz(made)
    assign(other, arrays(data))
    assert to_npz(other) == data


def test_names_and_not_the_order_decide() -> None:
    made, other = model(), model(seed=1)
    assign(other, dict(reversed(list(arrays(to_npz(made)).items()))))
    assert to_npz(other) == to_npz(made)


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"first/kernel is \(4, 5\), the model needs \(4, 3\)"):
        assign(model(), arrays(to_npz(model(width=5))))


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_weights_of_another_model_are_refused(change: str) -> None:
    stored = arrays(to_npz(model()))
    name = "second/bias" if change == "missing" else "third/kernel"
    if stored.pop(name, None) is None:
        stored[name] = np.zeros(1, np.float16)
    with pytest.raises(ValueError, match=f"the weights do not belong to this model: {name}$"):
        assign(model(), stored)
