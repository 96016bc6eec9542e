"""Starts for scores that compare nothing: tables of positions, from where the heads of a model look on average.

With w_b the weights of a head on example b, the one distribution p for all of them that is least far from them,
argmin sum_b KL(w_b || p), is their mean; so a table starts as its logarithm:

    random               R_h[i, j] = ln mean_b w_b,hij - mean over j     softmax does not see the mean
    factorized_random    the rank k matrix nearest to R_h, by its singular values

Beyond the length L of the sample a place takes the mean of R at its distance, |j - i| cut to L - 1.
Beside a part that compares, in a plain sum, tables start so that they add nothing, and so do dense scores; what would
have no gradient then keeps one factor at random.
"""

import torch
from torch import Tensor, nn

from leanformer.attention.mechanisms.synthesizer import Dense, FactorizedDense, FactorizedRandom, Random

LEAST = 1e-6
"""Mean weights below this count as it: a table need not reach for what nobody looks at."""


@torch.no_grad()
def look(part: nn.Module, name: str, weights_HLL: Tensor | None) -> None:
    """Fill a synthesizer that stands alone; ValueError if it has no closed form, or no weights are at hand."""
    if not isinstance(part, Random | FactorizedRandom):
        raise ValueError(
            f"{name}: its scores are a network of one token, which no map of a trained model gives: "
            "convert to another mechanism, or distil into it"
        )
    if weights_HLL is None:
        raise ValueError(f"{name} starts from where the model looks: give a sample of text with --text")
    table_HNN = _extended(_centred(weights_HLL), part.shape.max_length)
    if isinstance(part, Random):
        part.table.copy_(table_HNN)
        return
    left, values, right = torch.linalg.svd(table_HNN)
    k = min(part.rank, values.shape[-1])
    roots = values[:, None, :k].sqrt()
    for factor, found in ((part.left, left[..., :k] * roots), (part.right, right.transpose(-1, -2)[..., :k] * roots)):
        factor.zero_()
        factor[..., :k] = found


@torch.no_grad()
def add_nothing(part: nn.Module) -> None:
    """Scores of zero."""
    if isinstance(part, Random):
        part.table.zero_()
    elif isinstance(part, FactorizedRandom):
        part.right.zero_()
    elif isinstance(part, Dense | FactorizedDense):
        columns = slice(part.a, None) if isinstance(part, FactorizedDense) else slice(None)
        part.second[..., columns] = 0
        if part.biases:
            part.second_bias[..., columns] = 0
    else:
        raise ValueError(f"a part of the mixture, {type(part).__name__}, cannot start so that it adds nothing")


def _centred(weights_HLL: Tensor) -> Tensor:
    table = weights_HLL.clamp(min=LEAST).log()
    return table - table.mean(-1, keepdim=True)


def _extended(table_HLL: Tensor, length: int) -> Tensor:
    """(H, N, N)"""
    heads, sampled, _ = table_HLL.shape
    if sampled >= length:
        return table_HLL[:, :length, :length]
    at = torch.arange(sampled)
    distance = (at[None] - at[:, None] + sampled - 1).flatten()
    sums = torch.zeros(heads, 2 * sampled - 1, dtype=table_HLL.dtype).index_add_(1, distance, table_HLL.flatten(1))
    means = sums / distance.bincount()
    everywhere = torch.arange(length)
    offset = (everywhere[None] - everywhere[:, None]).clamp(1 - sampled, sampled - 1) + sampled - 1
    table = means[:, offset]
    table[:, :sampled, :sampled] = table_HLL
    return table
