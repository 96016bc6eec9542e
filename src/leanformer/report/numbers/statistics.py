"""Statistics of a few seeds. A difference is mechanism minus baseline, d_i = a_i - b_i, paired by seed i = 1..n.

    mean  d            sd  s = sqrt(sum (d_i - d)^2 / (n - 1))        standard error  e = s / sqrt(n),  df = n - 1
    95 % interval  d -+ t_{0.975, df} e                               p = 2 P(T_df > |d| / e)

Equivalence within a margin m is asked by two one-sided tests (TOST; Schuirmann, 1987), of d > -m and of d < m:

    p_equivalence = max( P(T_df > (d + m) / e),  P(T_df > (m - d) / e) )

It is below 0.05 exactly where the 90 % interval lies inside (-m, m). Interval, p and p_equivalence follow from d, e and
df alone, so an analysis with another standard error and other degrees of freedom gets them by giving these three.

Holm (1979): the k-th smallest of m p-values is multiplied by m - k + 1, made monotone and cut off at 1. It bounds by
0.05 the chance that any of the m statements "it differs" is false, however they depend; the m statements "it is
equivalent" are corrected among themselves in the same way. Intervals are not corrected.

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
Verdict = Literal["better", "worse", "equivalent", "undecided", "not compared", "not tested", "not testable"]
"""Not compared: there is no pair of numbers. Not tested: there is, but no spread to judge it by. Undecided: the test
finds neither a difference nor equivalence within the margin. Not testable: the runs learned nothing from context, or no
model of the pair is above chance on the task."""
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
    """A mean difference with its standard error and degrees of freedom, from which interval and both tests follow.

    Without a standard error there is nothing to judge the mean by, so no interval and no p-value; `note` says why.
    """

    n: int
    mean: float | None = None
    standard_error: float | None = None
    df: float | None = None
    sd: float | None = None
    """Of the n differences."""
    margin: float | None = None
    """Differences within -+ this count as none; without it, equivalence is not tested."""
    p_value_holm: float | None = None
    p_equivalence_holm: float | None = None
    note: str = ""
    bootstrap95: Interval | None = None
    """From `BOOTSTRAP_FROM` pairs on."""
    family: int = 1
    """How many differences Holm's correction is over."""

    def interval(self, level: float) -> Interval | None:
        """The t interval that covers the true difference with probability `level`."""
        if self.mean is None or self.standard_error is None:
            return None
        half = float(stats.t.isf((1 - level) / 2, self.df)) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def ci95(self) -> Interval | None:
        return self.interval(0.95)

    @property
    def ci90(self) -> Interval | None:
        """Inside the margins exactly where the uncorrected test of equivalence is below 0.05."""
        return self.interval(0.90)

    @property
    def p_value(self) -> float | None:
        """Two-sided, of no difference."""
        return None if self.mean is None or self.standard_error is None else 2 * self._beyond(abs(self.mean))

    @property
    def p_equivalence(self) -> float | None:
        """Of a difference as large as the margin or larger."""
        if self.mean is None or self.standard_error is None or self.margin is None:
            return None
        return max(self._beyond(self.margin + self.mean), self._beyond(self.margin - self.mean))

    def _beyond(self, distance: float) -> float:
        return float(stats.t.sf(distance / (self.standard_error or math.nan), self.df))

    @property
    def detectable(self) -> float | None:
        """See `detectable_difference`: were this the only test."""
        return detectable_difference(self.standard_error, self.df)

    @property
    def detectable_holm(self) -> float | None:
        """The same at the first and strictest step of Holm's correction."""
        return detectable_difference(self.standard_error, self.df, ALPHA / self.family)

    @property
    def differs(self) -> bool:
        return self.p_value_holm is not None and self.p_value_holm < ALPHA

    def verdict(self, *, higher_is_better: bool) -> Verdict:
        """By the Holm-corrected p-values alone. A difference that is real but within the margin is equivalent."""
        if self.mean is None:
            return "not compared"
        if self.p_value_holm is None:
            return "not tested"
        if self.p_equivalence_holm is not None and self.p_equivalence_holm < ALPHA:
            return "equivalent"
        if not self.differs:
            return "undecided"
        return "better" if (self.mean > 0) == higher_is_better else "worse"


def paired_difference(
    differences: Sequence[float], *, margin: float | None = None, bootstrap: bool = True
) -> PairedDifference:
    """The paired t-test. `bootstrap`: with the bootstrap's interval, which costs more than all else."""
    n = len(differences)
    if n == 0:
        return PairedDifference(0, margin=margin, note="no pair of finished runs")
    mean = float(np.mean(differences))
    if n == 1:
        note = "a single pair has no spread, so there is no interval and no p-value"
        return PairedDifference(1, mean, margin=margin, note=note)
    sd = float(np.std(differences, ddof=1))
    if not any(differences):
        note = f"all {n} pairs are identical, so there is no spread to test against"
        return PairedDifference(n, 0.0, sd=0.0, margin=margin, note=note)
    if sd <= ROUNDING * abs(mean):
        note = "every pair differs by the same amount: no spread to test against; check that the seeds took effect"
        return PairedDifference(n, mean, sd=0.0, margin=margin, note=note)
    drawn = _bootstrap(differences) if bootstrap else None
    return PairedDifference(n, mean, sd / math.sqrt(n), n - 1, sd, margin, bootstrap95=drawn)


def with_holm(family: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The same differences, each with its p-values corrected for the whole family."""
    differ, equivalent = holm([d.p_value for d in family]), holm([d.p_equivalence for d in family])
    tested = sum(p is not None for p in differ)
    return [
        replace(d, p_value_holm=p, p_equivalence_holm=same, family=max(tested, 1))
        for d, p, same in zip(family, differ, equivalent, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected p-values in the order given; None (not tested) stays None and is no member of the family."""
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[i] = largest
    return corrected


def detectable_difference(
    standard_error: float | None, df: float | None, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The smallest true difference that the t-test finds with probability `power`, given its standard error.

    Shifted by delta standard errors, t is (Z + delta) / S with S^2 ~ chi2_df / df. With c = t_{1-alpha/2, df}

        power = E_S[ P(Z > c S - delta) + P(Z < -c S - delta) ]

    an average over quantiles of S: scipy's non-central t loses its way at the one or two degrees of freedom met here.
    """
    if not standard_error or not df:
        return None
    quantiles = (np.arange(4000) + 0.5) / 4000
    bar = stats.t.isf(alpha / 2, df) * np.sqrt(stats.chi2.ppf(quantiles, df) / df)

    def excess(delta: float) -> float:
        return float(np.mean(stats.norm.sf(bar - delta) + stats.norm.cdf(-bar - delta))) - power

    return float(optimize.brentq(excess, 0.0, float(bar.max()) + 10)) * standard_error


def sd_factor(df: float) -> float:
    """The true sd may be this many times the one estimated with df degrees of freedom: sqrt(df / chi2_{0.025, df})."""
    return math.sqrt(df / float(stats.chi2.ppf(ALPHA / 2, df)))


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
