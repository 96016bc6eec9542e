"""Statistics over a few seeds. A difference is mechanism minus baseline, d_i = a_i - b_i, paired by seed i = 1..n.

    mean  d            sd  s = sqrt(sum (d_i - d)^2 / (n - 1))        standard error  e = s / sqrt(n),  df = n - 1
    95 % interval  d -+ t_{0.975, df} e                               p = 2 P(T_df > |d| / e)

Equivalence within a margin m is tested by two one-sided tests (TOST; Schuirmann, 1987), of d > -m and of d < m:

    p_equivalence = max( P(T_df > (d + m) / e),  P(T_df > (m - d) / e) )

It is below 0.05 exactly where the 90 % interval lies inside (-m, m). Interval, p and p_equivalence depend only on d, e
and df, so an analysis with another standard error and other degrees of freedom computes them from its own three values.

Holm's correction (1979) multiplies the k-th smallest of m p-values by m - k + 1, makes them monotone and cuts them off
at 1. The probability that any of the m statements "it differs" is false is then at most 0.05, however they depend on
each other. The m statements "it is equivalent" are corrected among themselves in the same way. Intervals are not
corrected.

The bootstrap (BCa; Efron, 1987) repeatedly draws n of the n differences and assumes no distribution. n seeds have
C(2n - 1, n) distinct resamples, 10 for three; its interval is reported from 8 seeds (6,435 resamples) on.
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
"""The smallest number of seeds with a bootstrap interval."""
RESAMPLES = 9999
ROUNDING = 1e-9
"""The relative spread below which numbers differ only by rounding."""

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "equivalent", "undecided", "not compared", "not tested", "not testable"]
"""The result of a test. Not compared: there is no pair of numbers. Not tested: there is a pair, but no spread.
Undecided: the test finds neither a difference nor equivalence within the margin. Not testable: the runs learned nothing
from context, or no model of the pair is above chance on the task."""
DECIDED = ("better", "worse")


@dataclass(frozen=True)
class Spread:
    """The mean and spread of n numbers; one number has no spread, and zero numbers have no mean."""

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
    """A mean difference with its standard error and degrees of freedom, from which its interval and tests follow.

    Without a standard error there is no interval and no p-value; `note` says why.
    """

    n: int
    mean: float | None = None
    standard_error: float | None = None
    df: float | None = None
    sd: float | None = None
    """The standard deviation of the n differences."""
    margin: float | None = None
    """Differences between -margin and margin count as equivalent; without a margin equivalence is not tested."""
    p_value_holm: float | None = None
    p_equivalence_holm: float | None = None
    note: str = ""
    bootstrap95: Interval | None = None
    """The bootstrap interval, from `BOOTSTRAP_FROM` pairs on."""
    family: int = 1
    """The number of differences in the family of Holm's correction."""

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
        """The 90 % interval, inside the margins exactly where the uncorrected p-value of equivalence is below 0.05."""
        return self.interval(0.90)

    @property
    def p_value(self) -> float | None:
        """The two-sided p-value of the hypothesis of no difference."""
        return None if self.mean is None or self.standard_error is None else 2 * self._beyond(abs(self.mean))

    @property
    def p_equivalence(self) -> float | None:
        """The p-value of the hypothesis that the difference is at least as large as the margin."""
        if self.mean is None or self.standard_error is None or self.margin is None:
            return None
        return max(self._beyond(self.margin + self.mean), self._beyond(self.margin - self.mean))

    def _beyond(self, distance: float) -> float:
        return float(stats.t.sf(distance / (self.standard_error or math.nan), self.df))

    @property
    def detectable(self) -> float | None:
        """The detectable difference (`detectable_difference`) if this were the only test."""
        return detectable_difference(self.standard_error, self.df)

    @property
    def detectable_holm(self) -> float | None:
        """The detectable difference at the first and strictest step of Holm's correction."""
        return detectable_difference(self.standard_error, self.df, ALPHA / self.family)

    @property
    def differs(self) -> bool:
        return self.p_value_holm is not None and self.p_value_holm < ALPHA

    def verdict(self, *, higher_is_better: bool) -> Verdict:
        """The verdict of the Holm-corrected p-values. A significant difference within the margin is equivalent."""
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
    """Returns the paired t-test. `bootstrap`: also the bootstrap interval, which costs more than everything else."""
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
    """Returns the same differences with their p-values corrected for the whole family."""
    differ, equivalent = holm([d.p_value for d in family]), holm([d.p_equivalence for d in family])
    tested = sum(p is not None for p in differ)
    return [
        replace(d, p_value_holm=p, p_equivalence_holm=same, family=max(tested, 1))
        for d, p, same in zip(family, differ, equivalent, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns the corrected p-values in the given order; None (not tested) stays None and does not count."""
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
    """Returns the smallest true difference that the t-test finds with probability `power`, given its standard error.

    Shifted by delta standard errors, t is (Z + delta) / S with S^2 ~ chi2_df / df. With c = t_{1-alpha/2, df}

        power = E_S[ P(Z > c S - delta) + P(Z < -c S - delta) ]

    an average over quantiles of S: scipy's non-central t is inaccurate at the one or two degrees of freedom used here.
    """
    if not standard_error or not df:
        return None
    quantiles = (np.arange(4000) + 0.5) / 4000
    bar = stats.t.isf(alpha / 2, df) * np.sqrt(stats.chi2.ppf(quantiles, df) / df)

    def excess(delta: float) -> float:
        return float(np.mean(stats.norm.sf(bar - delta) + stats.norm.cdf(-bar - delta))) - power

    return float(optimize.brentq(excess, 0.0, float(bar.max()) + 10)) * standard_error


def sd_factor(df: float) -> float:
    """Returns sqrt(df / chi2_{0.025, df}), the factor by which the true sd may exceed its estimate from df degrees."""
    return math.sqrt(df / float(stats.chi2.ppf(ALPHA / 2, df)))


def _bootstrap(values: Sequence[float]) -> Interval | None:
    """Returns the BCa interval of the mean. The resamples have a fixed seed, so that reports are reproducible."""
    if len(values) < BOOTSTRAP_FROM:
        return None
    found = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _interval(mean: float, sd: float, n: int) -> Interval | None:
    """Returns the t interval, or None where the spread is rounding error: width 0 would claim certainty."""
    if sd <= ROUNDING * abs(mean):
        return None
    half = float(stats.t.isf(ALPHA / 2, n - 1)) * sd / math.sqrt(n)
    return mean - half, mean + half
