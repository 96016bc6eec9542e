"""Tokens to target: how much text a run reads before its validation loss first reaches a stated loss.

    target(f) = floor - f (floor - b)        b the baseline's mean final loss, f = 0.95

in words: the loss at which 95 % of what the baseline learns from context has been learned, that is b plus a margin of
5 % of its distance from the no-context baseline. Without a margin, a mechanism a hair worse than the baseline never
arrives; and because any single threshold can flatter, the report shows 90 % and 99 % beside it.

The crossing is interpolated linearly between the two validations around it. A run that never arrives is censored:
its tokens are unknown, not large, so a comparison that holds one has no mean and no p-value. What is known of it is a
bound (`Descent.arrival`): more than it had.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FRACTION = 0.95
FRACTIONS = (0.90, 0.95, 0.99)

Curve = Sequence[tuple[float, float]]
"""(tokens, validation loss in nats), in order."""


@dataclass(frozen=True)
class Target:
    loss: float
    fraction: float


def target(floor: float | None, baseline_loss: float | None, fraction: float = FRACTION) -> Target | None:
    """None where there is no distance to take a fraction of: the baseline is not below the floor, or one is unknown."""
    if floor is None or baseline_loss is None or not baseline_loss < floor:
        return None
    return Target(floor - fraction * (floor - baseline_loss), fraction)


class Descent:
    """A curve of P points with the least loss so far at each, so that a target takes log P steps to find."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        losses = np.array([loss for _, loss in curve], dtype=float)
        self._negated = -np.fmin.accumulate(np.where(np.isnan(losses), np.inf, losses))

    def first_crossing(self, loss: float) -> float | None:
        """Tokens at which the curve is first at or below `loss`; None if it never is.

        A curve that starts there crossed at its first measurement or before: that measurement is the answer.
        """
        place = int(np.searchsorted(self._negated, -loss))
        if place == len(self.curve):
            return None
        tokens, value = self.curve[place]
        if place == 0 or not math.isfinite(self.curve[place - 1][1]):
            return float(tokens)
        start, above = self.curve[place - 1]
        return start + (tokens - start) * (above - loss) / (above - value)

    def arrival(self, loss: float) -> tuple[float, float]:
        """Tokens at the first crossing lie between these two.

        Twice the same if it lies between two validations; (0, first) if the first validation is below `loss` already;
        (last, infinity) if none is.
        """
        crossing = self.first_crossing(loss)
        if crossing is None:
            return (float(self.curve[-1][0]) if self.curve else 0.0), math.inf
        return (0.0 if self.curve[0][1] <= loss else crossing), crossing
