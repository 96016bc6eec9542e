"""The space that a tied map spans, where it stands on both sides of a form: V (R, K), orthonormal, that maximises

    |V' N V|^2 + tr(V' L V)

It has no closed form. It is iterated, V <- leading eigenvectors of the gradient, from the spaces of all rows, of the
queries and of the keys, and the best is kept. Where N has the form, it is found exactly.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TRIALS, STEPS, SETTLED = 8, 120, 1e-9
"""Iterations from each start, of the best of them, and the relative gain below which either ends."""


def space(N: Tensor, linear: Tensor, size: int, starts: Sequence[Tensor]) -> Tensor:
    """V for `size` = K; besides all rows, those of each of `starts` (n, R) span a first space."""

    def objective(V: Tensor) -> float:
        return float((V.T @ N @ V).square().sum() + ((linear @ V) * V).sum())

    def climb(P: Tensor, steps: int) -> Tensor:
        best, most = torch.empty(0), -1.0
        for _ in range(steps):
            V = leading(N @ P @ N.T + N.T @ P @ N + linear, size)
            P, found = V @ V.T, objective(V)
            if found <= most * (1 + SETTLED):
                break
            best, most = V, found
        return best

    first = [torch.eye(len(N), dtype=N.dtype), *(torch.linalg.pinv(rows) @ rows for rows in starts)]
    best = max((climb(P, TRIALS) for P in first), key=objective)
    return max(best, climb(best @ best.T, STEPS), key=objective)


def leading(symmetric_RR: Tensor, size: int) -> Tensor:
    """Eigenvectors of the `size` largest eigenvalues, fewer if there are no more."""
    return torch.linalg.eigh(symmetric_RR)[1][:, -size:]
