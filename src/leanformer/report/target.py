"""Tokens to target: how much text a run reads before its validation loss first reaches a stated loss.

    target(f) = floor - f (floor - b)        b the baseline's mean final loss, f = 0.95

in words: the loss at which 95 % of what the baseline learns from context has been learned, that is b plus a margin of
5 % of its distance from the context-free floor. Without a margin, a mechanism a hair worse than the baseline never
arrives; and because any single threshold can flatter, the report shows 90 % and 99 % beside it.

The crossing is interpolated linearly between the two validations around it. A run that never arrives is censored:
its tokens are unknown, not large, so a comparison that holds one has no mean and no p-value. What is known of it is a
bound (`arrival`): more than it had.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


def first_crossing(curve: Curve, loss: float) -> float | None:
    """Tokens at which the curve is first at or below `loss`; None if it never is.

    A curve that starts there crossed at its first measurement or before: that measurement is the answer.
    """
    before: tuple[float, float] | None = None
    for tokens, value in curve:
        if value <= loss:
            if before is None or not math.isfinite(before[1]):
                return float(tokens)
            return before[0] + (tokens - before[0]) * (before[1] - loss) / (before[1] - value)
        before = (tokens, value)
    return None


def arrival(curve: Curve, loss: float) -> tuple[float, float]:
    """Tokens at the first crossing lie between these two.

    Twice the same if it lies between two validations; (0, first) if the first validation is below `loss` already;
    (last, infinity) if none is.
    """
    crossing = first_crossing(curve, loss)
    if crossing is None:
        return (float(curve[-1][0]) if curve else 0.0), math.inf
    return (0.0 if curve[0][1] <= loss else crossing), crossing
