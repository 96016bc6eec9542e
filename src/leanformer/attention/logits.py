"""The seam between mechanisms: scores before they are multiplied out, and the one place that turns them into a context.

Shape letters: B batch, L query length, M memory length, H heads, K head size, C size of a compared vector.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from leanformer.attention.dropout import dropout as drop

PLAIN_UP_TO = 1024
"""Positions up to which bf16 attention on a CPU is computed by the plain formula."""


class Heads(NamedTuple):
    """What a projection makes of its input, a head each."""

    value: Tensor  # B H M K
    query: Tensor | None = None  # B H L K
    key: Tensor | None = None  # B H M K


class Logits(NamedTuple):
    """logits = query . key + bias, either half optional, the scale already inside.

    Closed under scaling and addition, since a sum of dot products is the dot product of the concatenated vectors;
    so a mixture of mechanisms is literally a weighted sum.
    """

    query: Tensor | None = None  # B H L C
    key: Tensor | None = None  # B H M C
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
            _both(self.bias, other.bias, torch.add),
        )

    def dense(self) -> Tensor:
        """The score matrix, broadcastable to (B, H, L, M)."""
        if self.query is None or self.key is None:
            if self.bias is None:
                raise ValueError("these logits hold neither query and key nor a bias")
            return self.bias
        product = self.query @ self.key.transpose(-1, -2)
        return product if self.bias is None else product + self.bias


def attend(
    logits: Logits, value_BHMK: Tensor, mask: Tensor | None = None, dropout: float = 0.0, *, fused: bool = True
) -> Tensor:
    """context_i = sum_j softmax_j(logits_ij) value_j over the j that `mask` allows; (B, H, L, K).

    `mask` is boolean, True = may attend, broadcastable to (B, H, L, M). A row that may attend to nothing yields zeros,
    whatever the kernel would have made of it. `dropout` is the probability in force now: 0 outside training.
    """
    if not (fused and fused_pays(logits, value_BHMK, dropout)):
        return attention_weights(logits, mask, dropout) @ value_BHMK
    query, key, allowed = logits
    assert query is not None and key is not None
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value_BHMK, allowed, dropout, scale=1.0)
    mask, empty = _without_empty_rows(mask)
    allowed = mask if allowed is None else allowed.masked_fill(~mask, float("-inf"))
    context_BHLK = F.scaled_dot_product_attention(query, key, value_BHMK, allowed, dropout, scale=1.0)
    return context_BHLK.masked_fill(empty, 0.0)


def attention_weights(logits: Logits, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """softmax_j(logits_ij), after mask and dropout; broadcastable to (B, H, L, M)."""
    scores = logits.dense()
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        mask, empty = _without_empty_rows(mask)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1).masked_fill(empty, 0.0)
    return drop(weights, dropout)


def fused_pays(logits: Logits, value_BHMK: Tensor, dropout: float = 0.0) -> bool:
    """Whether a fused kernel takes this case, and is the faster way to the same numbers.

    On a CPU it refuses dropout, vectors compared in another size than the values', and a bias that learns: PyTorch
    then runs the plain formula behind the same name. In bf16 it is slower than two matrix products, three times at 128
    positions and twice at 1024 with the backward pass (AVX512-BF16, PyTorch 2.13); beyond, it saves memory.
    """
    if logits.query is None or logits.key is None:
        return False
    if value_BHMK.device.type != "cpu":
        return True
    learns = logits.bias is not None and logits.bias.requires_grad
    long = logits.query.shape[-2] * logits.key.shape[-2] > PLAIN_UP_TO**2
    fast = long or logits.query.dtype != torch.bfloat16
    return fast and not dropout and not learns and logits.query.shape[-1] == value_BHMK.shape[-1]


def _without_empty_rows(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Let rows that may attend to nothing attend to everything, and say which they are.

    Kernels disagree on such rows (zeros, mean of the values, NaN) and a softmax over them has NaN gradients; so none
    ever sees one, and the caller zeroes the result.
    """
    empty = ~mask.any(dim=-1, keepdim=True)
    return mask | empty, empty


def _both(a: Tensor | None, b: Tensor | None, join) -> Tensor | None:
    return b if a is None else a if b is None else join(a, b)
