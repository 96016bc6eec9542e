"""The margins within which two mechanisms count as equivalent; a comparison's plan fixes them before its first run.

The default for a loss is 0.03 nats, a change of perplexity by 3 % (exp 0.03 = 1.030). This is less than the differences
for which one would choose a mechanism. The default for a task is one point of its score.
"""

from collections.abc import Mapping
from typing import Any

MARGIN = 0.03
"""Nats of final loss."""
TASK_MARGIN = 0.01
"""A fraction of a task's score: one point."""


def margin_of(plan: Mapping[str, Any]) -> float:
    """Returns the margin of a loss in nats, from the plan or else the default."""
    planned = plan.get("margin")
    return MARGIN if planned is None else float(planned)


def task_margin_of(plan: Mapping[str, Any]) -> float:
    """Returns the margin of a task's score as a fraction, from the plan or else the default."""
    planned = plan.get("task_margin")
    return TASK_MARGIN if planned is None else float(planned)


def points_of(plan: Mapping[str, Any]) -> str:
    """Returns a task's margin in words, such as "1 point"."""
    points = 100 * task_margin_of(plan)
    return f"{points:g} point{'' if points == 1 else 's'}"
