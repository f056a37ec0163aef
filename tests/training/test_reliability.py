"""Chances that come true, measured on numbers whose answer is known."""

import numpy as np
import pytest

from beamscribe.training.reliability import auroc, bins_of, calibration_error, cross_fitted, logistic


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    right = np.array([True, False, True, False])
    assert auroc(np.array([0.9, 0.1, 0.8, 0.2]), right) == 1.0
    assert auroc(np.array([0.1, 0.9, 0.2, 0.8]), right) == 0.0
    # Of four pairs three are in order.
    assert auroc(np.array([0.9, 0.1, 0.3, 0.5]), right) == 0.75
    assert auroc(np.ones(4), right) == 0.5


def test_logistic_regression_finds_the_chances_that_made_the_data() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(4000, 2))
    chances = 1 / (1 + np.exp(-(inputs @ [2.0, -1.0] + 0.5)))
    right = random.random(4000) < chances
    weights, bias = logistic(inputs, right)
    assert weights == pytest.approx([2.0, -1.0], abs=0.2)
    assert bias == pytest.approx(0.5, abs=0.15)
    assert calibration_error(chances, right) < 0.03
    # One that is surer than it should be is far off.
    assert calibration_error(chances**4 / (chances**4 + (1 - chances) ** 4), right) > 0.08
    assert [count for _, _, count in bins_of(chances, right)] == [400] * 10
    assert np.corrcoef(np.array(bins_of(chances, right))[:, :2].T)[0, 1] > 0.99


def test_what_is_cross_fitted_never_saw_the_item() -> None:
    seen: list[set[int]] = []

    def fit(items: np.ndarray):
        known = set(items.tolist())

        def chances(of: np.ndarray) -> np.ndarray:
            seen.append(known & set(of.tolist()))
            return of / 100

        return chances

    assert cross_fitted(25, fit).tolist() == (np.arange(25) / 100).tolist()
    assert seen == [set()] * 10
