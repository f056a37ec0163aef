"""What answers cost."""

from typing import NamedTuple

from beamscribe.pipelines.captioners.paid_answer import Totals


class Money(NamedTuple):
    """What answers cost.

    Attributes:
        price_in: of a million tokens of requests.
        price_out: of a million tokens of answers.
        max_cost: of an output; None for no bound.
    """

    price_in: float = 0.0
    price_out: float = 0.0
    max_cost: float | None = None

    def cost(self, totals: Totals) -> float:
        """Of answers, in the currency of the prices."""
        return (totals.tokens_in * self.price_in + totals.tokens_out * self.price_out) / 1e6

    @property
    def known(self) -> bool:
        """Whether there are prices."""
        return bool(self.price_in or self.price_out)
