"""Tokens to target: the number of tokens that a run reads before its validation loss first reaches a given loss.

    target(f) = floor - f (floor - b)        b the baseline's mean final loss, f = 0.95

In words, it is the loss at which 95 % of what the baseline learns from context has been learned: b plus 5 % of its
distance from the no-context baseline. Without this margin, a mechanism that is slightly worse than the baseline would
never reach the target. Because any single threshold can be misleading, the report also shows 90 % and 99 %.

The crossing is interpolated linearly between the two validations around it. A run that never reaches the target is
censored: its tokens are unknown, so a comparison with such a run has no mean and no p-value. Only a bound is known
(`Descent.arrival`): more tokens than the run had.
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
    """Returns the target, or None if the baseline's loss is not below the no-context baseline or one is unknown."""
    if floor is None or baseline_loss is None or not baseline_loss < floor:
        return None
    return Target(floor - fraction * (floor - baseline_loss), fraction)


class Descent:
    """A curve of P points with the lowest loss so far at each, in which a target is found in log P steps."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        losses = np.array([loss for _, loss in curve], dtype=float)
        self._negated = -np.fmin.accumulate(np.where(np.isnan(losses), np.inf, losses))

    def first_crossing(self, loss: float) -> float | None:
        """Returns the tokens at which the curve is first at or below `loss`, None if it never is.

        A curve that starts at or below `loss` crossed it by its first measurement, whose tokens are returned.
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
        """Returns a lower and an upper bound of the tokens at the first crossing.

        The bounds are equal if the crossing lies between two validations. They are (0, first) if the first validation
        is already below `loss`, and (last, infinity) if none is.
        """
        crossing = self.first_crossing(loss)
        if crossing is None:
            return (float(self.curve[-1][0]) if self.curve else 0.0), math.inf
        return (0.0 if self.curve[0][1] <= loss else crossing), crossing
