"""Statistics of a few seeds. A difference is mechanism minus baseline, d_i = a_i - b_i, paired by seed i = 1..n.

    mean  d            sd  s = sqrt(sum (d_i - d)^2 / (n - 1))        t = d / (s / sqrt(n)),  n - 1 degrees of freedom
    95 % interval  d -+ t_{0.975, n-1} s / sqrt(n)                    p = 2 P(T > |t|)

Holm (1979): the k-th smallest of m p-values is multiplied by m - k + 1, made monotone and cut off at 1. It bounds by
0.05 the chance that any of the m statements "it differs" is false, however they depend. Intervals are not corrected.

The bootstrap (BCa; Efron, 1987) draws n of the n differences again and again and assumes no distribution. n seeds have
C(2n - 1, n) distinct resamples, 10 for three: its interval is given from 8 seeds (6,435) on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import optimize, stats

ALPHA = 0.05
POWER = 0.8
BOOTSTRAP_FROM = 8
"""Seeds."""
RESAMPLES = 9999
ROUNDING = 1e-9
"""Relative spread below which numbers differ by rounding only."""

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "not distinguishable", "not compared", "not tested"]
"""Not compared: there is no pair of numbers. Not tested: there is, but no spread to judge it by."""
DECIDED = ("better", "worse")


@dataclass(frozen=True)
class Spread:
    """What n numbers say together; one number has no spread, and no number has no mean."""

    n: int
    mean: float | None = None
    sd: float | None = None
    least: float | None = None
    greatest: float | None = None
    ci95: Interval | None = None


def spread(values: Sequence[float]) -> Spread:
    if not values:
        return Spread(0)
    mean, least, greatest = float(np.mean(values)), min(values), max(values)
    if len(values) == 1:
        return Spread(1, mean, None, least, greatest)
    sd = float(np.std(values, ddof=1))
    return Spread(len(values), mean, sd, least, greatest, _interval(mean, sd, len(values)))


@dataclass(frozen=True)
class PairedDifference:
    """The paired t-test. No interval and no p-value where there is no spread to judge by; `note` then says why."""

    n: int
    mean: float | None = None
    sd: float | None = None
    ci95: Interval | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    note: str = ""
    bootstrap95: Interval | None = None
    """From `BOOTSTRAP_FROM` pairs on."""
    family: int = 1
    """How many differences Holm's correction is over."""

    @property
    def detectable(self) -> float | None:
        """See `detectable_difference`: were this the only test."""
        return detectable_difference(self.sd or 0.0, self.n)

    @property
    def detectable_holm(self) -> float | None:
        """The same at the first and strictest step of Holm's correction."""
        return detectable_difference(self.sd or 0.0, self.n, ALPHA / self.family)

    def verdict(self, *, higher_is_better: bool) -> Verdict:
        """By the Holm-corrected p-value alone."""
        if self.mean is None:
            return "not compared"
        if self.p_value_holm is None:
            return "not tested"
        if self.p_value_holm >= ALPHA:
            return "not distinguishable"
        return "better" if (self.mean > 0) == higher_is_better else "worse"


def paired_difference(differences: Sequence[float], *, bootstrap: bool = True) -> PairedDifference:
    """`bootstrap`: with the bootstrap's interval, which costs more than all else."""
    n = len(differences)
    if n == 0:
        return PairedDifference(0, note="no pair of finished runs")
    mean = float(np.mean(differences))
    if n == 1:
        return PairedDifference(1, mean, note="a single pair has no spread, so there is no interval and no p-value")
    sd = float(np.std(differences, ddof=1))
    if not any(differences):
        return PairedDifference(n, 0.0, 0.0, p_value=1.0, note="identical in every pair")
    if sd <= ROUNDING * abs(mean):
        note = "every pair differs by the same amount: no spread to test against; check that the seeds took effect"
        return PairedDifference(n, mean, 0.0, note=note)
    t = mean / (sd / math.sqrt(n))
    p_value = float(2 * stats.t.sf(abs(t), n - 1))
    drawn = _bootstrap(differences) if bootstrap else None
    return PairedDifference(n, mean, sd, _interval(mean, sd, n), p_value, bootstrap95=drawn)


def with_holm(family: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The same differences, each with its p-value corrected for the whole family."""
    corrected = holm([d.p_value for d in family])
    tested = sum(p is not None for p in corrected)
    return [replace(d, p_value_holm=p, family=max(tested, 1)) for d, p in zip(family, corrected, strict=True)]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected p-values in the order given; None (not tested) stays None and is no member of the family."""
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[i] = largest
    return corrected


def detectable_difference(sd: float, n: int, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The smallest true difference that the paired t-test of n pairs finds with probability `power`, given their sd.

    Shifted by delta standard errors, t is (Z + delta) / S with S^2 ~ chi2_{n-1} / (n - 1). With c = t_{1-alpha/2, n-1}

        power = E_S[ P(Z > c S - delta) + P(Z < -c S - delta) ]

    an average over quantiles of S: scipy's non-central t loses its way at the one or two degrees of freedom met here.
    """
    if n < 2 or sd <= 0:
        return None
    quantiles = (np.arange(4000) + 0.5) / 4000
    bar = stats.t.isf(alpha / 2, n - 1) * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))

    def excess(delta: float) -> float:
        return float(np.mean(stats.norm.sf(bar - delta) + stats.norm.cdf(-bar - delta))) - power

    return float(optimize.brentq(excess, 0.0, float(bar.max()) + 10)) * sd / math.sqrt(n)


def sd_factor(n: int) -> float:
    """The true sd of normal numbers may be this many times that of n of them: sqrt((n - 1) / chi2_{0.025, n-1})."""
    return math.sqrt((n - 1) / float(stats.chi2.ppf(ALPHA / 2, n - 1)))


def _bootstrap(values: Sequence[float]) -> Interval | None:
    """BCa for the mean. The resamples are those of one fixed seed: a report made twice is the same."""
    if len(values) < BOOTSTRAP_FROM:
        return None
    found = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _interval(mean: float, sd: float, n: int) -> Interval | None:
    """None where the spread is rounding error: an interval of width 0 would claim certainty."""
    if sd <= ROUNDING * abs(mean):
        return None
    half = float(stats.t.isf(ALPHA / 2, n - 1)) * sd / math.sqrt(n)
    return mean - half, mean + half
