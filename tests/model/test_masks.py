"""Masks: tables written by hand."""

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.masks import causal_mask, packed_mask, padding_mask, positions_in_captions

pytestmark = pytest.mark.slow


def table(*rows: str) -> np.ndarray:
    """Rows of `x` (may be seen) and `.` (hidden)."""
    return np.array([[letter == "x" for letter in row] for row in rows])


@pytest.mark.parametrize("length", [3, tf.constant(3)], ids=["int", "tensor"])
def test_causal_mask(length: int | tf.Tensor) -> None:
    expected = table("x..", "xx.", "xxx")[None]
    mask = causal_mask(length)
    assert mask.dtype == tf.bool
    np.testing.assert_array_equal(mask, expected)


def test_one_word_sees_itself() -> None:
    np.testing.assert_array_equal(causal_mask(1), [[[True]]])


@pytest.mark.parametrize(("pad", "expected"), [(0, ["xxx..", "x.x.x"]), (7, [".xxxx", "xxxxx"])])
def test_padding_mask(pad: int, expected: list[str]) -> None:
    tokens = tf.constant([[7, 5, 3, 0, 0], [2, 0, 3, 0, 3]])
    np.testing.assert_array_equal(padding_mask(tokens, pad), table(*expected)[:, None])


def test_packed_mask_hides_the_future_padding_and_other_captions() -> None:
    mask = packed_mask(tf.constant([[2, 5, 2, 6, 7, 0], [2, 0, 5, 2, 8, 9]]), start=2, pad=0)
    np.testing.assert_array_equal(mask[0], table("x.....", "xx....", "..x...", "..xx..", "..xxx.", "..xxx."))
    np.testing.assert_array_equal(mask[1], table("x.....", "x.....", "x.x...", "...x..", "...xx.", "...xxx"))


def test_positions_begin_anew_with_each_caption() -> None:
    mask = packed_mask(tf.constant([[2, 5, 2, 6, 7, 0, 0], [0, 0, 0, 0, 0, 0, 0]]), start=2, pad=0)
    np.testing.assert_array_equal(positions_in_captions(mask), [[0, 1, 0, 1, 2, 2, 2], [0] * 7])
