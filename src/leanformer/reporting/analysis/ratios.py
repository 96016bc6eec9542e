"""The cost of reaching a loss, relative to the baseline, in tokens, steps, FLOPs and seconds, for several targets.

For the pair of runs with seed i, of the mechanism (a) and of the baseline (b), and the cost c of first reaching a loss

    r_i = c_a / c_b        ratio r = exp(mean of log r_i),  95 % interval: the t interval of that mean, through exp

An unknown cost lies between two bounds (`Descent.arrival`): it is more than the whole run's if the run never reaches
the loss. So r_i lies between two bounds, too, and r between their geometric means: "more than x" if a run of the
mechanism never reaches the loss, "less than x" if one of the baseline does not. Then there is no interval and no
p-value, but the pair is counted.

    tokens     interpolated linearly between the two validations around the crossing
    steps      from the run's log at that many tokens; without a log, by the run's mean tokens per step
    flops      tokens x training FLOPs per token (the ledger's exact count)
    seconds    from the run's log at that many tokens, with validation; without a log, by its mean speed

The p-value is that of the paired t-test of log r_i against 0, the same quantity as that of ratio and interval.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from leanformer.reporting.analysis.pairing import Pairs
from leanformer.reporting.numbers.statistics import Interval, PairedDifference, Verdict, holm, paired_difference
from leanformer.reporting.numbers.target import FRACTIONS, Target
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study

RESOURCES = ("tokens", "steps", "flops", "seconds")
EASIEST, HARDEST, POINTS = 0.5, 1.1, 26
"""The curve of the ratio has POINTS targets between these fractions of what the baseline learns."""


@dataclass(frozen=True)
class Ratio:
    attention: str
    resource: str
    target: Target
    seeds: tuple[int, ...]
    costs: tuple[tuple[Interval, Interval], ...]
    """(mechanism, baseline) of every seed, each as a lower and an upper bound."""
    log: PairedDifference
    """The paired difference of the logarithms, whose values are log r_i."""

    @property
    def bounds(self) -> Interval:
        """The bounds of the ratio, which are equal if every run reaches the loss."""
        least = [ours[0] / theirs[1] for ours, theirs in self.costs]
        most = [ours[1] / theirs[0] if theirs[0] else math.inf for ours, theirs in self.costs]
        return _geometric_mean(least), _geometric_mean(most)

    def same(self, other: "Ratio") -> bool:
        """Whether both are equal up to rounding, as those of tokens and steps are if all steps have one size."""
        bounds = zip(self.bounds, other.bounds, strict=True)
        return all(ours == theirs or math.isclose(ours, theirs, rel_tol=1e-6) for ours, theirs in bounds)

    @property
    def known(self) -> bool:
        return self.log.mean is not None

    @property
    def ratio(self) -> float | None:
        return None if self.log.mean is None else math.exp(self.log.mean)

    @property
    def ci95(self) -> Interval | None:
        return self.log.ci95 and (math.exp(self.log.ci95[0]), math.exp(self.log.ci95[1]))

    @property
    def arrived(self) -> tuple[int, int]:
        """The numbers of runs of the mechanism and of the baseline that reach the loss."""
        return tuple(sum(math.isfinite(pair[side][1]) for pair in self.costs) for side in (0, 1))  # type: ignore[return-value]

    @property
    def verdict(self) -> Verdict | Literal["censored"]:
        """The verdict; a cost has no margin, so it is never equivalent. Censored: only a bound is known."""
        return self.log.verdict(higher_is_better=False) if self.known else "censored"

    @property
    def early(self) -> bool:
        """Whether a run had reached the loss by its first validation, so that its cost is unknown."""
        return any(cost[0] == 0 for pair in self.costs for cost in pair)


def cost(run: Run, resource: str, tokens: float) -> float | None:
    """Returns what the run had spent at so many tokens, None if its records do not say."""
    if resource == "tokens" or math.isinf(tokens):
        return tokens
    if resource == "flops":
        return None if run.flops_per_token is None else tokens * run.flops_per_token
    if run.clock:
        at, steps, seconds = run.columns
        return float(np.interp(tokens, at, steps if resource == "steps" else seconds))
    spent = run.steps if resource == "steps" else run.seconds
    return None if spent is None or not run.tokens else tokens * spent / run.tokens


def ratios(study: Study, paired: dict[str, Pairs], targets: Iterable[Target]) -> list[Ratio]:
    """Returns the ratios of every target, resource and mechanism that has records of it, not corrected."""
    found = (
        _ratio(name, pairs, resource, target)
        for target in targets
        for resource in RESOURCES
        for name, pairs in paired.items()
    )
    return [ratio for ratio in found if ratio is not None]


def corrected(family: Sequence[Ratio]) -> list[Ratio]:
    """Returns the same ratios with Holm's correction over all of them; those that are the `same` test count once."""
    first: list[int] = []
    """For every ratio, the place of the first one of its mechanism and target that is the same."""
    for place, ratio in enumerate(family):
        before = (
            i
            for i in dict.fromkeys(first)
            if (family[i].attention, family[i].target) == (ratio.attention, ratio.target) and family[i].same(ratio)
        )
        first.append(next(before, place))
    unique = list(dict.fromkeys(first))
    adjusted = dict(zip(unique, holm([family[i].log.p_value for i in unique]), strict=True))
    tested = sum(p is not None for p in adjusted.values())
    return [
        replace(ratio, log=replace(ratio.log, p_value_holm=adjusted[i], family=max(tested, 1)))
        for ratio, i in zip(family, first, strict=True)
    ]


def table_targets(study: Study) -> list[Target]:
    return [target for fraction in FRACTIONS if (target := study.target(fraction)) is not None]


def curve_targets(study: Study) -> list[Target]:
    """Returns the targets from easy to hard; beyond 1, the baseline's final loss, as far as a mechanism gets."""
    final = study.target(1.0)
    if final is None or study.curve_floor is None:
        return []
    ends = [mean for name in study.attention if (mean := study.spread(name, "curve_loss").mean) is not None]
    hardest = (study.curve_floor - min(ends)) / (study.curve_floor - final.loss)
    found = [study.target(float(fraction)) for fraction in np.linspace(EASIEST, min(hardest, HARDEST), POINTS)]
    return [target for target in found if target is not None]


def _ratio(attention: str, of: Pairs, resource: str, target: Target) -> Ratio | None:
    costs = []
    for pair in of.pairs:
        each = [_between(run, resource, target.loss) for run in pair]
        if each[0] is None or each[1] is None:
            return None
        costs.append((each[0], each[1]))
    if not costs:
        return None
    seeds = tuple(run.seed for run, _ in of.pairs)
    exact = [(ours[0], theirs[0]) for ours, theirs in costs if ours[0] == ours[1] > 0 and theirs[0] == theirs[1] > 0]
    if len(exact) < len(costs):
        log = PairedDifference(len(exact), note="a run never arrives, or was there at its first validation")
    else:
        log = paired_difference([math.log(ours / theirs) for ours, theirs in exact], bootstrap=False)
    return Ratio(attention, resource, target, seeds, tuple(costs), log)


def _between(run: Run, resource: str, loss: float) -> Interval | None:
    least, most = (cost(run, resource, tokens) for tokens in run.descent.arrival(loss))
    return None if least is None or most is None else (least, most)


def _geometric_mean(values: list[float]) -> float:
    if math.inf in values:
        return math.inf
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0
