"""Dropout, cheap on the CPU.

    y = x m / (1 - p),    m independent Bernoulli(1 - p)

PyTorch's CPU kernel draws a random number an element, serially, which in a small model costs as much as its matrix
products. Here one 64-bit draw serves eight elements: an element is dropped if its byte is below a level, and the level
of every 256 elements is 256 p rounded up or down at random, so that p is exact. Elements that share a level are
correlated by at most 4e-6 / (p (1 - p)).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**8
"""Values of a byte; also the elements that share a level."""


def dropout(x: Tensor, p: float) -> Tensor:
    """`x` with every element zero with probability `p` and the rest scaled by 1 / (1 - p); from torch's generator."""
    if not p:
        return x
    if x.device.type != "cpu" or p > 1 - 1 / LEVELS or torch.compiler.is_compiling():
        return F.dropout(x, p)
    return _Dropout.apply(x, p)


class Dropout(nn.Dropout):
    """`nn.Dropout` by the function above."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p if self.training else 0.0)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        rows = -(-x.numel() // LEVELS)
        drawn = torch.empty(rows, LEVELS // 8, dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
        levels = (torch.rand(rows, 1) + p * LEVELS).to(torch.uint8)
        kept = (drawn >= levels).flatten()[: x.numel()].view(x.shape)
        # Bytes of zero and one multiply twice as fast as booleans.
        ctx.kept, ctx.scale = kept.view(torch.uint8), 1 / (1 - p)
        return (x * ctx.kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return (gradient * ctx.kept).mul_(ctx.scale), None
