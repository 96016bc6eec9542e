"""Least squares whose solution is no larger than it may be: the least ridge that keeps a condition to its limit.

    minimise  |A t - b|^2 + ridge |t|^2

The condition (`condition.py`) is the size of what is added up relative to the result. Exact solutions can be large
numbers that cancel, of which rounding leaves little; a ridge gives up a little of the fit for much smaller numbers.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LIMIT, VALUE_LIMIT = 8.0, 2.0
"""The conditions that a start's logits and its values may have: bf16 rounds logits by about LIMIT / 512 of their size.
Values are stricter, since int8 gives the largest of a layer's contexts and the smallest the same step."""
SLACK = 1e-6
"""The fraction by which rounding may exceed a limit."""


def bounded(matrix: Tensor, wanted: Tensor, fine: Callable[[Tensor], bool]) -> Tensor:
    """The solution t of the least ridge, min |matrix t - wanted|^2 + ridge |t|^2, that is fine; exact where that is.

    `wanted` is a vector, or a matrix with a column for each of t.
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    wanted = left.T @ wanted
    kept = values > 1e-8 * values[0]
    wanted, values, right = wanted[kept], values[kept], right[kept]

    def solved(ridge: float) -> Tensor:
        factors = values / (values.square() + ridge * values[0].square())
        return right.T @ (wanted * (factors if wanted.ndim == 1 else factors[:, None]))

    t, ridge = solved(0.0), 1e-8
    while len(values) and not fine(t) and ridge < 1e4:
        ridge *= 1.5
        t = solved(ridge)
    return t
