"""The encoder block: what holds whatever its weights. Its numbers are checked in test_captioner.py."""

import json

import numpy as np

from model.encoder import EncoderBlock

CELLS = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)


def built(dropout: float = 0.0) -> EncoderBlock:
    block = EncoderBlock(width=8, heads=2, dropout=dropout)
    block.build((None, 6, 7))
    return block


def test_cells_have_no_order() -> None:
    block, order = built(), [3, 1, 5, 0, 4, 2]
    np.testing.assert_allclose(block(CELLS[:, order]), block(CELLS).numpy()[:, order], atol=1e-5)


def test_every_cell_sees_every_other() -> None:
    block, changed = built(), CELLS.copy()
    changed[0, 4] = CELLS[1, 4]
    difference = np.abs(block(changed).numpy() - block(CELLS).numpy()).max(-1)
    assert (difference[0] > 1e-4).all()
    np.testing.assert_array_equal(difference[1], 0)  # another image


def test_scale_and_offset_of_the_features_do_not_matter() -> None:
    # Layer norm comes first: backbones of different loudness train alike.
    block = built()
    np.testing.assert_allclose(block(1000 * CELLS + 50), block(CELLS), atol=1e-2)


def test_dropout_works_in_training_alone() -> None:
    block = built(dropout=0.5)
    np.testing.assert_array_equal(block(CELLS), block(CELLS, training=False))
    assert np.abs(block(CELLS, training=True).numpy() - block(CELLS).numpy()).max() > 1e-2


def test_config_makes_the_block_again() -> None:
    block = built(dropout=0.25)
    again = EncoderBlock.from_config(json.loads(json.dumps(block.get_config())))
    assert again.get_config() == block.get_config()
    again.build((None, 6, 7))
    again.set_weights(block.get_weights())
    np.testing.assert_array_equal(again(CELLS), block(CELLS))
