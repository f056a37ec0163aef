"""The encoders: what holds whatever their weights. Their numbers are checked in test_captioner.py."""

import json

import keras
import numpy as np
import pytest

from beamscribe.model.encoder import BasicEncoder, CellEncoder, GridEncoder, PooledEncoder

pytestmark = pytest.mark.slow

CELLS = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
ORDER = [3, 1, 5, 0, 4, 2]


def pooled(dropout: float = 0.0) -> PooledEncoder:
    return PooledEncoder(8)


def cells(dropout: float = 0.0) -> CellEncoder:
    return CellEncoder(8)


def basic(dropout: float = 0.0) -> BasicEncoder:
    return BasicEncoder(width=8, heads=2, blocks=1, dropout=dropout)


def grid(dropout: float = 0.0, visual_dropout: float = 0.0) -> GridEncoder:
    return GridEncoder((2, 3), 8, heads=2, feed_forward=12, blocks=1, dropout=dropout, visual_dropout=visual_dropout)


def built(encoder: keras.layers.Layer) -> keras.layers.Layer:
    encoder.build((None, 6, 7))
    return encoder


@pytest.mark.parametrize(("make", "expected"), [(pooled, 1), (cells, 6), (basic, 6), (grid, 6)])
def test_shapes(make: type, expected: int) -> None:
    assert built(make())(CELLS).shape == (2, expected, 8)


def test_the_pooled_encoder_sees_the_mean_alone() -> None:
    encoder = built(pooled())
    np.testing.assert_allclose(encoder(CELLS[:, ORDER]), encoder(CELLS), atol=1e-6)
    expected = np.maximum(CELLS.mean(1) @ encoder.projection.kernel.numpy() + encoder.projection.bias.numpy(), 0)
    np.testing.assert_allclose(encoder(CELLS)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("make", [cells, basic])
def test_cells_have_no_order(make: type) -> None:
    encoder = built(make())
    np.testing.assert_allclose(encoder(CELLS[:, ORDER]), encoder(CELLS).numpy()[:, ORDER], atol=1e-5)


def test_our_encoder_knows_where_a_cell_is() -> None:
    encoder = built(grid())
    difference = encoder(CELLS[:, ORDER]).numpy() - encoder(CELLS).numpy()[:, ORDER]
    assert np.abs(difference).max() > 1e-3
    encoder.rows.assign(np.zeros((2, 1, 8)))
    encoder.columns.assign(np.zeros((1, 3, 8)))
    np.testing.assert_allclose(encoder(CELLS[:, ORDER]), encoder(CELLS).numpy()[:, ORDER], atol=1e-5)


@pytest.mark.parametrize("make", [basic, grid])
def test_every_cell_sees_every_other(make: type) -> None:
    encoder, changed = built(make()), CELLS.copy()
    changed[0, 4] = CELLS[1, 4]
    difference = np.abs(encoder(changed).numpy() - encoder(CELLS).numpy()).max(-1)
    assert (difference[0] > 1e-4).all()
    np.testing.assert_array_equal(difference[1], 0)  # another image


def test_scale_and_offset_of_the_features_do_not_matter() -> None:
    # Layer norm comes first, or what was measured: backbones of different loudness train alike.
    encoder = built(basic())
    np.testing.assert_allclose(encoder(1000 * CELLS + 50), encoder(CELLS), atol=1e-2)
    args, louder = built(grid()), built(grid())
    louder.set_weights(args.get_weights())
    args.adapt(CELLS)
    louder.adapt(1000 * CELLS + 50)
    np.testing.assert_allclose(louder(1000 * CELLS + 50), args(CELLS), atol=1e-2)


@pytest.mark.parametrize("encoder", [basic(0.5), grid(0.5), grid(visual_dropout=0.5)])
def test_dropout_works_in_training_alone(encoder: keras.layers.Layer) -> None:
    encoder = built(encoder)
    np.testing.assert_array_equal(encoder(CELLS), encoder(CELLS, training=False))
    assert np.abs(encoder(CELLS, training=True).numpy() - encoder(CELLS).numpy()).max() > 1e-2


@pytest.mark.parametrize("make", [pooled, cells, basic, grid])
def test_config_makes_the_encoder_again(make: type) -> None:
    encoder = built(make())
    again = type(encoder).from_config(json.loads(json.dumps(encoder.get_config())))
    assert json.dumps(again.get_config()) == json.dumps(encoder.get_config())
    built(again).set_weights(encoder.get_weights())
    np.testing.assert_array_equal(again(CELLS), encoder(CELLS))
