"""The learning-rate sweep: every mechanism had the same rates, all are reported, and each is compared at its best.

The best rate of a mechanism has the lowest mean final loss among its rates with the most finished seeds, so that a rate
at which a seed diverged never wins over one at which none did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leanformer.report.quantities import listed
from leanformer.report.runs import Run
from leanformer.report.statistics import Spread, spread


@dataclass(frozen=True)
class Rate:
    """One mechanism at one learning rate."""

    attention: str
    learning_rate: float | None
    runs: tuple[Run, ...]
    chosen: bool = False

    @property
    def finished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def final_loss(self) -> Spread:
        return spread([run.final_loss for run in self.finished if run.final_loss is not None])


def rates(runs: Sequence[Run], attention: str) -> list[Rate]:
    """The mechanism's rates in rising order, one of them chosen."""
    values = sorted({run.learning_rate for run in runs if run.attention == attention}, key=lambda r: r or 0.0)
    plain = [
        Rate(attention, value, tuple(r for r in runs if r.attention == attention and r.learning_rate == value))
        for value in values
    ]
    if not plain:
        return []
    most = max(rate.final_loss.n for rate in plain)
    able = [rate for rate in plain if rate.final_loss.n == most]
    best = min(able, key=lambda rate: (rate.final_loss.mean or 0.0, rate.learning_rate or 0.0))
    return [Rate(rate.attention, rate.learning_rate, rate.runs, rate is best) for rate in plain]


def doubts(sweep: dict[str, list[Rate]]) -> list[str]:
    """What makes a sweep unfair or inconclusive, in sentences."""
    if all(len(of) < 2 for of in sweep.values()):
        return []
    out = []
    grids = {name: [rate.learning_rate for rate in of if rate.finished] for name, of in sweep.items()}
    first = next(iter(grids.values()))
    uneven = [name for name, grid in grids.items() if grid != first]
    if uneven:
        shown = "; ".join(f"{name}: {', '.join(f'{r:g}' for r in grid if r) or 'none'}" for name, grid in grids.items())
        out.append(f"The mechanisms were not tuned equally: finished learning rates are {shown}.")
    edge = []
    for name, of in sweep.items():
        best = next(rate for rate in of if rate.chosen)
        if len(of) > 1 and best.finished and best in (of[0], of[-1]):
            edge.append(f"{name} ({best.learning_rate:g})")
    if edge:
        out.append(
            f"The best learning rate lies at the edge of the sweep for {listed(edge)}: a wider one may do better."
        )
    return out
