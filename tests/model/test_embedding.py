"""Embeddings: table rows added by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.embedding import TokenAndPositionEmbedding

pytestmark = pytest.mark.slow


@pytest.fixture
def layer() -> TokenAndPositionEmbedding:
    """Width 4, so the scale is 2; token t is (t, t, t, t), position p is (100p, 0, 0, 0)."""
    layer = TokenAndPositionEmbedding(vocabulary_size=6, length=5, width=4)
    layer.build((None, None))
    layer.tokens.embeddings.assign(np.tile(np.arange(6.0)[:, None], (1, 4)))
    layer.positions.embeddings.assign(np.outer(100.0 * np.arange(5), [1, 0, 0, 0]))
    return layer


@pytest.mark.parametrize(
    ("positions", "offsets"),
    [
        ([[0, 1, 2]], [[0, 100, 200]] * 2),
        ([[2]], [[200] * 3] * 2),
        ([[0, 1, 0], [3, 3, 4]], [[0, 100, 0], [300, 300, 400]]),
    ],
    ids=["from 0", "one for all", "each its own"],
)
def test_token_times_root_of_width_plus_position(
    layer: TokenAndPositionEmbedding, positions: list[list[int]], offsets: list[list[int]]
) -> None:
    tokens = np.array([[1, 5, 0], [3, 1, 2]])
    expected = np.repeat(2.0 * tokens[..., None], 4, axis=-1)
    expected[..., 0] += offsets
    np.testing.assert_allclose(layer(tf.constant(tokens), tf.constant(positions)), expected)


def test_config_makes_the_layer_again(layer: TokenAndPositionEmbedding) -> None:
    again = TokenAndPositionEmbedding.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    again.build((None, None))
    assert [tuple(weight.shape) for weight in again.weights] == [(6, 4), (5, 4)]
