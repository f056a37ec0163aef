import pytest
import tensorflow as tf

from beamscribe.training import precision
from beamscribe.training.precision import computing_in, resolved

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_what_the_processor_can(able: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: able)
    assert resolved("auto") == expected
    assert [resolved(asked) for asked in ("float32", "bfloat16")] == ["float32", "bfloat16"]


def test_products_are_rounded_inside_alone() -> None:
    # 1 + 2^-9 has more digits than a bfloat16.
    fine = tf.fill((64, 64), 1 + 2**-9)

    def product() -> float:
        # Traced anew: a function keeps what it was compiled for.
        function = tf.function(lambda a: tf.matmul(tf.nn.relu(tf.matmul(a, a)), a), autograph=False)
        return float(function(fine)[0, 0])

    exact = product()
    with computing_in("bfloat16"):
        rounded = product()
    with computing_in("float32"):
        assert product() == exact
    assert product() == exact
    if precision.has_bfloat16():
        assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)


def test_an_error_inside_ends_it_too() -> None:
    with pytest.raises(ValueError, match="inside"), computing_in("bfloat16"):
        raise ValueError("inside")
    assert not tf.config.optimizer.get_experimental_options().get(precision._OPTION)
