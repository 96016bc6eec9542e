"""The choice of a learning rate. All mechanisms are tried and reported at the same rates, and compared at their best.

    chosen(mechanism) = argmin over rates of the mean over tuning seeds of the validation loss (nats)

among the rates with the most finished seeds, so that a rate at which a seed diverged is never chosen over one at which
none did. Older records without tuning runs choose by the same mean over the reported seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leanformer.reporting.numbers.quantities import listed
from leanformer.reporting.numbers.statistics import Spread, spread
from leanformer.reporting.records.runs import Run


@dataclass(frozen=True)
class Rate:
    """A mechanism at one learning rate."""

    attention: str
    learning_rate: float | None
    runs: tuple[Run, ...]
    """The reported runs, which are compared if this rate is chosen."""
    chosen: bool = False
    tuning: tuple[Run, ...] = ()

    @property
    def finished(self) -> tuple[Run, ...]:
        return _finished(self.runs)

    @property
    def tried(self) -> tuple[Run, ...]:
        """The runs whose loss decides about the rate."""
        return self.tuning or self.runs

    @property
    def losses(self) -> list[float]:
        """The validation losses of the finished runs among `tried`."""
        return [run.selection_loss for run in _finished(self.tried) if run.selection_loss is not None]

    @property
    def loss(self) -> Spread:
        return spread(self.losses)


def _finished(runs: Sequence[Run]) -> tuple[Run, ...]:
    return tuple(run for run in runs if run.status == "finished")


def rates(runs: Sequence[Run], attention: str) -> list[Rate]:
    """Returns the mechanism's rates in ascending order, one of them chosen."""
    mechanism_runs = [run for run in runs if run.attention == attention]
    plain = []
    for value in sorted({run.learning_rate for run in mechanism_runs}, key=lambda rate: rate or 0.0):
        at = [run for run in mechanism_runs if run.learning_rate == value]
        reported = tuple(run for run in at if not run.tuning)
        plain.append(Rate(attention, value, reported, tuning=tuple(run for run in at if run.tuning)))
    if not plain:
        return []
    judged = [rate for rate in plain if rate.tuning] or plain
    most = max(rate.loss.n for rate in judged)
    able = [rate for rate in judged if rate.loss.n == most]
    best = min(able, key=lambda rate: (rate.loss.mean or 0.0, rate.learning_rate or 0.0))
    return [replace(rate, chosen=rate is best) for rate in plain]


def doubts(sweep: dict[str, list[Rate]]) -> list[str]:
    """Returns sentences about what makes a sweep unfair or inconclusive."""
    if all(len(mechanism_rates) < 2 for mechanism_rates in sweep.values()):
        return []
    out = []
    grids = {
        name: [rate.learning_rate for rate in mechanism_rates if rate.losses] for name, mechanism_rates in sweep.items()
    }
    first = next(iter(grids.values()))
    uneven = [name for name, grid in grids.items() if grid != first]
    if uneven:
        shown = "; ".join(f"{name}: {', '.join(f'{r:g}' for r in grid if r) or 'none'}" for name, grid in grids.items())
        out.append(f"The mechanisms were not tuned equally: finished learning rates are {shown}.")
    edge = []
    for name, mechanism_rates in sweep.items():
        best = next(rate for rate in mechanism_rates if rate.chosen)
        if len(mechanism_rates) > 1 and best.losses and best in (mechanism_rates[0], mechanism_rates[-1]):
            edge.append(f"{name} ({best.learning_rate:g})")
    if edge:
        out.append(
            f"The best learning rate lies at the edge of the sweep for {listed(edge)}: a wider one may do better."
        )
    return out
