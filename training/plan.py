"""Which images an epoch shows, and how often: sources that count more are shown more often."""

from typing import NamedTuple

import numpy as np


class Plan(NamedTuple):
    """What every epoch draws from.

    Attributes:
        shares: float (images,), how often an epoch of all images would show each; a half is every other epoch.
        images: that an epoch shows.
    """

    shares: np.ndarray
    images: int

    @classmethod
    def of(cls, shares: np.ndarray, images: int = 0) -> "Plan":
        """A plan.

        Args:
            shares: see `Plan`.
            images: that an epoch shows at most; 0 is as many as the shares sum up to.
        """
        whole = max(1, round(float(shares.sum())))
        return cls(shares, min(images, whole) if images else whole)

    def order(self, random: np.random.Generator) -> np.ndarray:
        """The images of one epoch in random order, int (images,).

        Systematic sampling: each image comes as often as it should, rounded up or down.
        """
        order = random.permutation(len(self.shares))
        if self.images == len(order) and (self.shares == 1).all():
            return order
        ends = np.cumsum(self.shares[order])
        wanted = (np.arange(self.images) + random.random()) * (ends[-1] / self.images)
        return random.permutation(order[np.minimum(np.searchsorted(ends, wanted, side="right"), len(order) - 1)])
