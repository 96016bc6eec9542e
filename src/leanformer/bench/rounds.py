"""Candidates take turns, A B C ... A B C ..., so that a machine's moods fall on all alike.

    ratio = B's time of a round / A's time of the same round

A result is the median over the rounds, with the least and the greatest of them.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
import torch._dynamo

from leanformer.training.machine.timing import seconds

Spread = dict[str, float]
"""median, low, high."""

TURN = 0.5
"""Seconds that a turn of a short step is repeated for, so that the clock's grain and a single hiccup do not tell."""


def alternate(
    turns: Mapping[str, Callable[[], float]], rounds: int, tick: Callable[[], None]
) -> dict[str, list[float]]:
    """What the turns return, a list a candidate with an entry a round; `tick` is called after every turn."""
    values: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            values[name].append(turn())
            tick()
    return values


def spread(values: Sequence[float]) -> Spread:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Round by round."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def repeats(step: Callable[[], object], device: torch.device) -> int:
    """How often a step fits into a turn, once it is warm."""
    seconds(step, 2, device)
    return max(1, min(100, round(TURN / seconds(step, 1, device))))


def turn(step: Callable[[], object], times: int, device: torch.device) -> Callable[[], float]:
    """Seconds of a step, the mean of so many; on a CPU the time of the process, so that what else the machine does
    tells little."""
    if device.type != "cpu":
        return lambda: seconds(step, times, device)

    def measured() -> float:
        start = time.process_time()
        for _ in range(times):
            step()
        return (time.process_time() - start) / times

    return measured


def many_graphs() -> AbstractContextManager[None]:
    """torch.compile keeps a graph of every candidate, and says so if it cannot, rather than to run it uncompiled."""
    return torch._dynamo.config.patch(recompile_limit=256, fail_on_recompile_limit_hit=True)
