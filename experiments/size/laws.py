"""How a gap depends on size, and a loss on size and tokens.

    gap      g(N) = a + b log10 N             nats; b is what ten times as many parameters add
    loss     L(N, D) = E + A N^-a + B D^-b    nats; the law of Hoffmann et al. (2022)

N counts the parameters of the layers, without embeddings and head, as the literature does; D counts tokens. The line is
fitted to each seed by itself, by least squares: slope and predictions are means over seeds with t intervals. The law is
fitted to means over seeds by least squares in E, log A, log B, a and b; its intervals are of all resamples of the
seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from leanformer.reporting.numbers.statistics import Spread, spread

LOWER, UPPER = np.array([0.0, -5.0, -5.0, 0.02, 0.02]), np.array([20.0, 40.0, 40.0, 2.0, 2.0])
"""Bounds of E, log A, log B, a and b."""
STARTS = [(e, a, b) for e in (0.5, 2.0) for a in (0.1, 0.4) for b in (0.1, 0.4)]
MOST_ERROR = 0.5
"""Standard error of E (nats) or of log a, log b beyond which the points do not determine them."""
ROUNDING = 1e-10
"""Ratio of the least to the greatest singular value of the derivatives below which some change of the numbers is no
change of the losses."""


@dataclass(frozen=True)
class Line:
    """g = a + b log10 N over seeds."""

    slope: Spread
    """b, nats for ten times as many parameters."""
    per_seed: tuple[tuple[float, float], ...]
    """(a, b)"""

    def at(self, size: float) -> Spread:
        """The gap on the lines at this size, over seeds; beyond the sizes that were measured it is a prediction."""
        return spread([a + b * float(np.log10(size)) for a, b in self.per_seed])


def line(sizes: Sequence[float], gaps: Sequence[Sequence[float]]) -> Line:
    """The lines through the gaps of each seed, one row per seed and one column per size. ValueError for one size."""
    if len(set(sizes)) < 2:
        raise ValueError("a line over size needs runs of two sizes at least: add a comparison of another width")
    fits = [np.polyfit(np.log10(sizes), row, 1) for row in gaps]
    return Line(spread([float(b) for b, _ in fits]), tuple((float(a), float(b)) for b, a in fits))


@dataclass(frozen=True)
class Law:
    """The five numbers, with the least and the greatest of each over the central 95 % of the resamples of the seeds."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    residual: float
    """Root mean square of the points' distances, nats."""
    problem: str = ""
    """Why the numbers are not determined by the points; "" if they are."""


def law(sizes: NDArray, tokens: NDArray, losses: NDArray) -> Law:
    """The law of P points: sizes and tokens (P,), losses (seeds, P)."""
    best, errors = _fit(sizes, tokens, losses.mean(0))
    problem = _problem(sizes, tokens, best, errors)
    weights, resampled = _resamples(sizes, tokens, losses)
    intervals = {name: _central(resampled[:, i], weights) for i, name in enumerate(NAMES)}
    values = dict(zip(NAMES, _named(best).tolist(), strict=True))
    rest = predict(best, sizes, tokens) - losses.mean(0)
    return Law(values, intervals, float(np.sqrt((rest**2).mean())), problem)


NAMES = ("E", "A", "B", "a", "b")


def predict(parameters: NDArray, sizes: NDArray, tokens: NDArray) -> NDArray:
    """L of `parameters` = (E, log A, log B, a, b) at the points."""
    e, log_a, log_b, a, b = parameters
    return e + np.exp(log_a - a * np.log(sizes)) + np.exp(log_b - b * np.log(tokens))


def _fit(sizes: NDArray, tokens: NDArray, losses: NDArray) -> tuple[NDArray, NDArray]:
    """The best of several starts; standard errors of (E, log A, log B, log a, log b), infinite where none is known."""

    def distance(parameters: NDArray) -> NDArray:
        return predict(parameters, sizes, tokens) - losses

    def start(e: float, a: float, b: float) -> NDArray:
        rest = max(float(losses.mean()) - e, 0.1) / 2
        return np.array([e, np.log(rest) + a * np.log(sizes.mean()), np.log(rest) + b * np.log(tokens.mean()), a, b])

    found = [
        least_squares(distance, start(*each), bounds=(LOWER, UPPER), x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
        for each in STARTS
    ]
    best = min(found, key=lambda each: each.cost)
    free = len(losses) - len(NAMES)
    if free <= 0 or np.linalg.cond(best.jac) > 1 / ROUNDING:
        return best.x, np.full(len(NAMES), np.inf)
    errors = np.sqrt((np.linalg.pinv(best.jac, rcond=0) ** 2).sum(1) * 2 * best.cost / free)
    return best.x, errors / np.array([1, 1, 1, best.x[3], best.x[4]])


def _problem(sizes: NDArray, tokens: NDArray, best: NDArray, errors: NDArray) -> str:
    few = [name for name, of in (("sizes", sizes), ("numbers of tokens", tokens)) if len(np.unique(np.round(of))) < 3]
    if len(sizes) <= len(NAMES) or few:
        return f"too few {few[0] if few else 'points'}"
    at_bound = [
        name
        for name, value, low, high in zip(("E", "A", "B", "a", "b"), best, LOWER, UPPER, strict=True)
        if min(value - low, high - value) < 1e-3
    ]
    if at_bound:
        return f"{at_bound[0]} lies at the bound of the search"
    loose = [name for name, error in zip(NAMES, errors, strict=True) if name in "Eab" and error > MOST_ERROR]
    return f"the standard error of {loose[0]} is too large" if loose else ""


def _resamples(sizes: NDArray, tokens: NDArray, losses: NDArray) -> tuple[NDArray, NDArray]:
    """Every way to draw as many seeds as there are with replacement: how often it comes, and the numbers it gives."""
    n = len(losses)
    drawn = list(combinations_with_replacement(range(n), n))
    weights = [factorial(n) / np.prod([factorial(each.count(i)) for i in range(n)]) for each in drawn]
    return np.array(weights), np.array([_named(_fit(sizes, tokens, losses[list(each)].mean(0))[0]) for each in drawn])


def _named(parameters: NDArray) -> NDArray:
    """(E, A, B, a, b) of (E, log A, log B, a, b)."""
    e, log_a, log_b, a, b = parameters
    return np.array([e, np.exp(log_a), np.exp(log_b), a, b])


def _central(values: NDArray, weights: NDArray) -> tuple[float, float]:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(share, 0.025)]), float(values[order][np.searchsorted(share, 0.975)])
