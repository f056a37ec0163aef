import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from beamscribe.training.bootstrap import CONFIDENCE, RESAMPLES, interval, resampled_sums

pytestmark = pytest.mark.slow

# Whole numbers, so that sums are exact.
COUNTS = st.tuples(st.integers(1, 30), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 1000))
)


@settings(deadline=None)
@given(COUNTS)
def test_a_resample_holds_as_many_images_as_there_are(counts: np.ndarray) -> None:
    images = len(counts)
    sums = resampled_sums(np.column_stack([counts, np.ones(images)]))
    assert sums.shape == (RESAMPLES, counts.shape[1] + 1)
    assert (sums[:, -1] == images).all()
    assert (sums[:, :-1] >= images * counts.min(axis=0)).all()
    assert (sums[:, :-1] <= images * counts.max(axis=0)).all()


@settings(deadline=None)
@given(COUNTS, st.integers(1, 9))
def test_draws_depend_on_the_number_of_images_alone_so_that_two_sets_are_paired(
    counts: np.ndarray, factor: int
) -> None:
    assert (resampled_sums(counts * factor + 1) == resampled_sums(counts) * factor + len(counts)).all()
    assert (resampled_sums(counts) - resampled_sums(counts.copy()) == 0).all()


@settings(deadline=None)
@given(COUNTS)
def test_an_interval_lies_within_what_was_drawn(counts: np.ndarray) -> None:
    sums = resampled_sums(counts)[:, 0]
    low, high = interval(sums)
    assert sums.min() <= low <= np.median(sums) <= high <= sums.max()
    assert ((sums >= low) & (sums <= high)).mean() >= CONFIDENCE - 1 / RESAMPLES


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = interval(resampled_sums(values[:, None])[:, 0] / 400)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    # Four times the images, half the interval.
    narrow = interval(resampled_sums(np.tile(values, 4)[:, None])[:, 0] / 1600)
    assert narrow[1] - narrow[0] == pytest.approx((high - low) / 2, rel=0.1)


def test_one_image_says_nothing_of_others() -> None:
    assert interval(resampled_sums(np.array([[3.0]]))[:, 0]) == (3, 3)
