"""Candidates take turns, A B C ... A B C ..., so that variations of the machine's speed affect all equally.

    ratio = B's time of a round / A's time of the same round

A result is the median over the rounds, with the smallest and the largest value.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
import torch._dynamo

from leanformer.training.machine.timing import seconds

Spread = dict[str, float]
"""The keys are median, low and high."""

TURN = 0.5
"""The seconds for which a short step is repeated in a turn, so that clock resolution and delays do not matter."""


def alternate(
    turns: Mapping[str, Callable[[], float]], rounds: int, tick: Callable[[], None]
) -> dict[str, list[float]]:
    """Returns the results of the turns: one list per candidate, one entry per round. Calls `tick` after every turn."""
    values: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            values[name].append(turn())
            tick()
    return values


def spread(values: Sequence[float]) -> Spread:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Returns the median and range of the ratio within a round."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def repeats(step: Callable[[], object], device: torch.device) -> int:
    """The number of steps in a turn, measured after a warm-up."""
    seconds(step, 2, device)
    return max(1, min(100, round(TURN / seconds(step, 1, device))))


def turn(step: Callable[[], object], times: int, device: torch.device) -> Callable[[], float]:
    """Returns the mean seconds per step; on a CPU the process's time, on which other programs have little effect."""
    if device.type != "cpu":
        return lambda: seconds(step, times, device)

    def measured() -> float:
        start = time.process_time()
        for _ in range(times):
            step()
        return (time.process_time() - start) / times

    return measured


def many_graphs() -> AbstractContextManager[None]:
    """Make torch.compile keep a graph per candidate, and raise an error if it cannot, instead of not compiling."""
    return torch._dynamo.config.patch(recompile_limit=256, fail_on_recompile_limit_hit=True)
