"""The difference of two mechanisms in held-out loss, with both sources of its error: the seeds and the text.

n pairs of runs, one per seed, are scored on the same m items of text (`training/run/scores.py`). For pair i and item j
let S_ij be the difference of the summed losses and T_j the number of targets, W = sum_j T_j:

    d_i = sum_j S_ij / W            d = mean of d_i                   nats per target
    r_ij = (m / W) (S_ij - d T_j)   what item j adds to d_i - d: the mean of r_ij over j is d_i - d

Seeds and items are crossed and both are samples, so r_ij = a_i + b_j + e_ij, and with the mean squares

    A = var_i(d_i)                                               n - 1 degrees of freedom
    B = var_j(mean over i of r_ij)                               m - 1
    E = sum_ij (r_ij - r_i. - r_.j + r_..)^2 / ((n-1)(m-1))      (n-1)(m-1)

    V = A / n + B / m - E / (n m),  at least A / n and at least B / m
    df = V^2 / ( (A/n)^2 / (n-1) + (B/m)^2 / (m-1) + (E/nm)^2 / ((n-1)(m-1)) )

V is the unbiased estimate of the variance of d in the crossed design (Cornfield & Tukey, 1956); df is Satterthwaite's
(1946). Clark (1973) proposed this analysis for samples of both subjects and words (quasi-F). d is a ratio of sums over
items, whose sampling error r_ij linearises (Cochran, 1977, section 6.3).

Sequences of one document are not independent. Where the scored sequences begin in FEWEST_DOCUMENTS documents or more,
an item is all that was scored of one document; otherwise it is a sequence, and the report says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leanformer.records.scores import Losses

FEWEST_DOCUMENTS = 30


@dataclass(frozen=True)
class Crossed:
    """A difference d of n pairs of runs on m items, with the standard errors of seeds, of items and of both."""

    mean: float
    standard_error: float
    df: float
    seeds_error: float
    """sqrt(A / n), the standard error if these were the only texts."""
    items_error: float
    """sqrt(B / m), the standard error if these were the only seeds."""
    items: int
    item: Literal["document", "sequence"]
    targets: int
    per_seed: tuple[float, ...]
    """d_i"""


def crossed(ours: Sequence[Losses], theirs: Sequence[Losses]) -> Crossed | None:
    """Returns the analysis of runs that are paired in this order.

    Returns None for fewer than two pairs or items, or if the runs were not scored on the same targets.
    """
    n = len(ours)
    if n < 2 or any(not _same(each, ours[0]) for each in (*ours, *theirs)):
        return None
    item, groups = _items(ours[0])
    m = int(groups.max()) + 1
    if m < 2:
        return None
    targets = np.bincount(groups, ours[0].targets, minlength=m)
    pairs = zip(ours, theirs, strict=True)
    sums = np.stack([np.bincount(groups, a.losses - b.losses, minlength=m) for a, b in pairs])
    return difference(sums, targets, item)


def difference(sums: NDArray, targets: NDArray, item: Literal["document", "sequence"] = "sequence") -> Crossed:
    """Returns the analysis of S (n, m) and T (m,)."""
    n, m = sums.shape
    total = targets.sum()
    per_seed = sums.sum(1) / total
    mean = float(per_seed.mean())
    r = (m / total) * (sums - mean * targets)
    a = per_seed.var(ddof=1) / n
    b = r.mean(0).var(ddof=1) / m
    rest = r - r.mean(1, keepdims=True) - r.mean(0, keepdims=True) + r.mean()
    e = (rest**2).sum() / ((n - 1) * (m - 1)) / (n * m)
    variance = max(a + b - e, a, b)
    below = a**2 / (n - 1) + b**2 / (m - 1) + e**2 / ((n - 1) * (m - 1))
    return Crossed(
        mean=mean,
        standard_error=float(np.sqrt(variance)),
        df=float(variance**2 / below) if below else float(n - 1),
        seeds_error=float(np.sqrt(a)),
        items_error=float(np.sqrt(b)),
        items=m,
        item=item,
        targets=int(total),
        per_seed=tuple(per_seed.tolist()),
    )


def _items(scored: Losses) -> tuple[Literal["document", "sequence"], NDArray[np.int64]]:
    """Returns what an item is, and the number of its item for every sequence."""
    documents, groups = np.unique(scored.documents, return_inverse=True)
    if len(documents) >= FEWEST_DOCUMENTS:
        return "document", groups
    return "sequence", np.arange(len(scored.sequences))


def _same(one: Losses, other: Losses) -> bool:
    return all(np.array_equal(one[k], other[k]) for k in range(1, len(one)))
