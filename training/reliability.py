"""Whether chances come true: fitting them, and measuring how well they separate and how far they are off."""

from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.stats

BINS = 10
FOLDS = 10


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    """Area under the ROC curve: how often a right one scores higher than a wrong one; 0.5 is chance.

    Args:
        scores: float (n,).
        right: bool (n,), some true and some false.
    """
    ranks = scipy.stats.rankdata(scores)
    count = int(right.sum())
    return float((ranks[right].sum() - count * (count + 1) / 2) / (count * (len(right) - count)))


def bins_of(chances: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Mean chance, share that is right, and number, of bins with about equally many (adaptive calibration error,
    Nixon et al. 2019, arXiv:1904.01685)."""
    order = np.argsort(chances, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [(float(chances[part].mean()), float(right[part].mean()), len(part)) for part in parts]


def calibration_error(chances: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017, arXiv:1706.04599)."""
    place = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = [
        abs(chances[place == number].mean() - right[place == number].mean()) * (place == number).mean()
        for number in range(bins)
        if (place == number).any()
    ]
    return float(sum(gaps))


def logistic(inputs: np.ndarray, right: np.ndarray, penalty: float = 1.0) -> tuple[np.ndarray, float]:
    """Logistic regression with an L2 penalty on the weights.

    Args:
        inputs: float (n, signals), standardised.
        right: bool (n,).
        penalty: half of it times the weights' squared norm is added to the summed loss.

    Returns:
        Weights (signals,), and the bias.
    """
    target = right.astype(np.float64)
    padded = np.column_stack([inputs.astype(np.float64), np.ones(len(inputs))])

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = padded @ theta
        value = np.logaddexp(0, z).sum() - target @ z + penalty / 2 * theta[:-1] @ theta[:-1]
        gradient = padded.T @ (1 / (1 + np.exp(-z)) - target)
        gradient[:-1] += penalty * theta[:-1]
        return float(value), gradient

    theta = scipy.optimize.minimize(loss, np.zeros(padded.shape[1]), jac=True, method="L-BFGS-B").x
    return theta[:-1], float(theta[-1])


def cross_fitted(
    count: int, fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]], seed: int = 0
) -> np.ndarray:
    """A chance for each item from a fit that did not see it.

    Args:
        count: items.
        fit: from the items to learn from, to a function from items to their chances.
        seed: of the parts.
    """
    parts = np.array_split(np.random.default_rng(seed).permutation(count), min(FOLDS, count))
    chances = np.zeros(count)
    for part in parts:
        chances[part] = fit(np.setdiff1d(np.arange(count), part))(part)
    return chances
