"""All engines and precisions see the same, with the embedded network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.backbone.choice import BFLOAT16, FLOAT32, INT8, OPENVINO, TENSORFLOW, Choice, has_bfloat16
from beamscribe.model.backbone.engine import open_engine
from beamscribe.model.backbone.network import Backbone
from beamscribe.model.backbone.spec import EFFICIENTNET_LITE2, resolve_weights
from beamscribe.model.freezing import freeze

pytestmark = pytest.mark.slow

SPEC = EFFICIENTNET_LITE2
WEIGHTS = resolve_weights("imagenet", SPEC)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, *SPEC.input_size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return Backbone(SPEC, WEIGHTS)(PIXELS)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(FLOAT32, 2e-3), pytest.param(BFLOAT16, 0.1, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("engine", [TENSORFLOW, OPENVINO])
def test_engines_give_the_grid_of_the_network(plain: np.ndarray, engine: str, precision: str, tolerance: float) -> None:
    if engine == OPENVINO:
        pytest.importorskip("openvino")
    opened = open_engine(SPEC, WEIGHTS, Choice(engine, precision))
    grid = opened(PIXELS)
    assert grid.dtype == np.float16
    assert grid.shape == (3, *SPEC.grid)
    assert np.abs(grid - plain).mean() < tolerance * np.abs(plain).mean()
    # Other sizes of batch, and several threads at once, give the same; so does a second call.
    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(lambda n: opened(PIXELS[n : n + 1]), [0, 1, 2, 0, 1, 2]))
    for n, found in enumerate(alone):
        np.testing.assert_allclose(found[0], grid[n % 3], atol=tolerance * float(np.abs(plain).max()))


def test_a_worker_without_the_engine_fails_and_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    monkeypatch.delitem(__import__("sys").modules, "beamscribe.model.backbone.openvino_engine", raising=False)
    with pytest.raises(ImportError):
        open_engine(SPEC, WEIGHTS, Choice(OPENVINO, FLOAT32))


def test_int8_needs_its_files() -> None:
    pytest.importorskip("openvino")
    with pytest.raises(ValueError, match="int8 needs"):
        open_engine(SPEC, WEIGHTS, Choice(OPENVINO, INT8))


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_frozen_function_is_the_function_as_it_was(bfloat16: bool) -> None:
    matrix = tf.Variable(np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32))
    function = tf.function(
        lambda x: (tf.matmul(x, matrix), tf.reduce_sum(x)), input_signature=[tf.TensorSpec((None, 64))]
    )
    x = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
    expected = x @ matrix.numpy()
    frozen = freeze(function, bfloat16)
    matrix.assign(tf.zeros_like(matrix))
    product, total = frozen(tf.constant(x))
    assert product.dtype == tf.float32
    np.testing.assert_allclose(product, expected, atol=0.2 if bfloat16 else 1e-4)
    # Where the processor does not multiply it, TensorFlow leaves the function as it is.
    assert (np.abs(product - expected).max() > 1e-3) == (bfloat16 and has_bfloat16())
    np.testing.assert_allclose(total, x.sum(), rtol=1e-2)
