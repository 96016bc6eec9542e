"""Statistics of what an attention layer reads, in float64."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

CHUNK = 2_048


class Statistics(NamedTuple):
    """Moments of a layer's input x, and the mean weights of its heads where a table is to start from them."""

    mean: Tensor  # D
    second: Tensor  # D D, E x x'
    weights: Tensor | None = None  # H L L
    sampled: bool = True  # whether they are those of a text

    @classmethod
    def of(cls, x_ND: Tensor, weights: Tensor | None = None) -> Self:
        """Moments are summed about the mean, in the dtype of x over CHUNK rows and then in float64: float32 loses
        nothing that matters and takes half the time."""
        mean = x_ND.mean(0, dtype=torch.float64)
        second = len(x_ND) * torch.outer(mean, mean)
        for rows in x_ND.split(CHUNK):
            centred = rows - mean.to(x_ND.dtype)
            second += (centred.T @ centred).double()
        return cls(mean, second / len(x_ND), weights)

    @classmethod
    def unknown(cls, width: int) -> Self:
        """Without a text: uncorrelated numbers of variance one, under which errors of logits are errors of weights."""
        return cls(torch.zeros(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64), sampled=False)
