"""How far a score would move with other images of the same kind: the bootstrap."""

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
_SEED = 0


def resampled_sums(values: np.ndarray) -> np.ndarray:
    """Sums over images drawn with replacement, as many as there are.

    The draws depend on the number of images alone, so those of two sets of captions for the same images are paired:
    the difference of their scores is free of what makes an image hard for both.

    Args:
        values: (images, columns), what adds up over images.

    Returns:
        (RESAMPLES, columns).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6; paired as in Koehn, Statistical
    Significance Tests for Machine Translation Evaluation (EMNLP 2004).
    """
    images = len(values)
    random = np.random.default_rng(_SEED)
    draws = (np.bincount(random.integers(images, size=images), minlength=images) for _ in range(RESAMPLES))
    return np.stack([counts @ values for counts in draws])


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The middle `CONFIDENCE` of resampled scores, (RESAMPLES,) → low and high."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
