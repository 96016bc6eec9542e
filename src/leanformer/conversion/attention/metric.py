"""A head's maps as vectors: what they are in coordinates where the length of a difference is the error it makes.

Of rows Z (N, D) under a metric C (D, D) the Gram matrix is G = Z C Z', and F (N, R) with F F' = G are coordinates: the
plain dot products of F are those of Z under C. Every combination of rows has the same combination of coordinates, so a
fit is made there, in R <= N numbers instead of D, and no inverse of C is ever taken.

With C the second moment of real hidden states x the squared error of a bilinear form, |C^(1/2) (M - M') C^(1/2)|_F^2,
is E (x' (M - M') y)^2 over independent x and y: of the logits. With C = I it is the error of the weights.
"""

import torch
from torch import Tensor

KEPT = 1e-12
"""The fraction of the largest eigenvalue below which the rest is rounding of float32 weights."""


class MetricBasis:
    """Coordinates of these rows under the metric, and the way back."""

    def __init__(self, rows: Tensor, metric: Tensor) -> None:
        values, vectors = torch.linalg.eigh(rows @ metric @ rows.T)
        kept = values > KEPT * values[-1]
        if not kept.any():  # all rows are zero, and so is every combination
            self.coordinates, self._back = rows.new_zeros(len(rows), 1), rows.new_zeros(1, rows.shape[1])
            return
        roots, vectors = values[kept].sqrt(), vectors[:, kept]
        self.coordinates = vectors * roots
        self._back = (vectors / roots).T @ rows

    def rows(self, coordinates: Tensor) -> Tensor:
        """(n, R) -> (n, D), of which these are the coordinates."""
        return coordinates @ self._back
