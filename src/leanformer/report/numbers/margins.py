"""The margins within which two mechanisms count as equivalent; a comparison's plan fixes them before its first run.

The default for a loss is 0.03 nats because that is a change of perplexity by 3 % (exp 0.03 = 1.030), less than what
separates mechanisms that one would choose between for their loss. The default for a task is one point of its score.
"""

from collections.abc import Mapping
from typing import Any

MARGIN = 0.03
"""Nats of final loss."""
TASK_MARGIN = 0.01
"""A fraction of a task's score: one point."""


def margin_of(plan: Mapping[str, Any]) -> float:
    """Nats: the margin that the plan names, or the default where it names none."""
    planned = plan.get("margin")
    return MARGIN if planned is None else float(planned)


def task_margin_of(plan: Mapping[str, Any]) -> float:
    """The same for a task's score, as a fraction."""
    planned = plan.get("task_margin")
    return TASK_MARGIN if planned is None else float(planned)


def points_of(plan: Mapping[str, Any]) -> str:
    """ "1 point": a task's margin in words."""
    points = 100 * task_margin_of(plan)
    return f"{points:g} point{'' if points == 1 else 's'}"
