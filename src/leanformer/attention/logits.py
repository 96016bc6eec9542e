"""The seam between mechanisms: what a projection makes, and scores before they are multiplied out.

Shape letters: B batch, L query length, M memory length, H heads, G key and value heads, K head size, C size of a
compared vector.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Heads(NamedTuple):
    """What a projection makes of its input, per head. There are G key and value heads, as many as queries or fewer."""

    value: Tensor  # B G M K
    query: Tensor | None = None  # B H L C, absent where nothing is compared
    key: Tensor | None = None  # B G M C


class Logits(NamedTuple):
    """logits = query . key + bias, either half optional, the scale already inside.

    Closed under scaling and addition, since a sum of dot products is the dot product of the concatenated vectors;
    so a mixture of mechanisms is literally a weighted sum.
    """

    query: Tensor | None = None  # B H L C
    key: Tensor | None = None  # B G M C
    bias: Tensor | None = None  # broadcastable to B H L M

    def scale(self, weight: Tensor | float) -> "Logits":
        """weight * logits; `weight` is a number or broadcastable to (B, H, L, 1)."""
        return Logits(
            None if self.query is None else self.query * weight,
            self.key,
            None if self.bias is None else self.bias * weight,
        )

    def plus(self, other: "Logits") -> "Logits":
        """The sum of two scores."""
        return Logits(
            _both(self.query, other.query, lambda a, b: torch.cat((a, b), dim=-1)),
            _both(self.key, other.key, lambda a, b: torch.cat((a, b), dim=-1)),
            _both(self.bias, other.bias, _sum),
        )

    def dense(self) -> Tensor:
        """The score matrix, broadcastable to (B, H, L, M)."""
        if self.query is None or self.key is None:
            if self.bias is None:
                raise ValueError("these logits hold neither query and key nor a bias")
            return self.bias
        product = self.query @ repeated(self.key, self.query.shape[1]).transpose(-1, -2)
        return product if self.bias is None else _sum(product, self.bias)


def repeated(x_BGMK: Tensor, heads: int) -> Tensor:
    """Keys or values for so many heads, (B, H, M, K): head h reads h G // H. A view where all read one."""
    groups = x_BGMK.shape[1]
    if groups >= heads:
        return x_BGMK
    return x_BGMK.expand(-1, heads, -1, -1) if groups == 1 else x_BGMK.repeat_interleave(heads // groups, dim=1)


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """a + b in the larger one's dtype: under autocast a float32 table must not make a batch of bf16 scores float32."""
    larger, smaller = (a, b) if a.numel() >= b.numel() else (b, a)
    return larger + smaller.to(larger.dtype)


def _both(a: Tensor | None, b: Tensor | None, join) -> Tensor | None:
    return b if a is None else a if b is None else join(a, b)
