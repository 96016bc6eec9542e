"""Scores that are tables of positions, and how a table starts from where the heads of a trained model look.

With w_b the weights of a head on example b, the one distribution p for all of them that is least far from them,
argmin sum_b KL(w_b || p), is their mean; so a table starts as its logarithm:

    R_h[i, j] = ln mean_b w_b,hij - mean over j        softmax does not see the mean

Beyond the length L of the sample a place takes the mean of R at its distance, |j - i| cut to L - 1. The papers that the
tables come from are named where their mechanisms are registered.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.positions import Positions
from leanformer.attention.shape import Shape

LEAST = 1e-6
"""Mean weights below this count as it: a table need not reach for what nobody looks at."""


class Random(Compatibility):
    """logit_h(i, j) = R_h[i, j];  H N^2 weights, no FLOPs."""

    compares = uses_input = False
    reads_attention = any_queries = True
    parameter_groups = {"position_tables": ParameterGroup(("table",))}
    table: Tensor

    def __init__(self, shape: Shape, init_std: float = 0.02) -> None:
        super().__init__(shape)
        self.init_std = init_std
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        heads, length = self.shape.num_heads, self.shape.max_length
        return {"table": torch.randn(heads, length, length) * self.init_std}

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        return Logits(bias=positions.columns(positions.rows(self.table)))

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        return self.table[h, i, j]

    def init_from_attention(self, weights_HLL: Tensor) -> None:
        self.table.copy_(log_table(weights_HLL, self.shape.max_length))

    def zero_init(self) -> None:
        self.table.zero_()

    @staticmethod
    def num_params(shape: Shape, **_: Any) -> int:
        return shape.num_heads * shape.max_length**2

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, **_: Any) -> int:
        return 0

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        # The values, which the table's gradient is made of; in a mixture they are kept for the products anyway.
        return length * shape.inner_size if path == "shared_rows" else 0


class FixedRandom(Random):
    """logit_h(i, j) = R_h[i, j], drawn once: a buffer, saved but never trained."""

    learns = False
    parameter_groups = {}

    def __init__(self, shape: Shape, init_std: float = 1.0) -> None:
        super().__init__(shape, init_std)

    def make_parameters(self) -> None:
        self.register_buffer("table", self.initial_values()["table"])

    @staticmethod
    def num_params(shape: Shape, **_: Any) -> int:
        return 0

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        return 0


class FactorizedRandom(Compatibility):
    """logit_h(i, j) = R1_h[i] . R2_h[j], rank k;  2 H N k weights, 2 H L M k FLOPs, once for a whole batch."""

    compares = uses_input = False
    reads_attention = any_queries = True
    parameter_groups = {"position_tables": ParameterGroup(("left", "right"))}
    left: Tensor
    right: Tensor

    def __init__(self, shape: Shape, rank: int = 8, init_std: float = 0.02) -> None:
        super().__init__(shape)
        if rank < 1:
            raise ValueError(f"rank = {rank} must be positive")
        self.rank, self.init_std = rank, init_std
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        size = (self.shape.num_heads, self.shape.max_length, self.rank)
        std = sqrt(self.init_std / sqrt(self.rank))  # k products of variance std^4 add up to init_std^2
        return {"left": torch.randn(size) * std, "right": torch.randn(size) * std}

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        return Logits(bias=positions.rows(self.left) @ positions.memory_rows(self.right).transpose(-1, -2))

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        return (self.left[h, i] * self.right[h, j]).sum()

    def init_from_attention(self, weights_HLL: Tensor) -> None:
        """The rank k matrix nearest to the table, by its singular values."""
        self.left.zero_()
        self.right.zero_()
        left, right = factors_of(log_table(weights_HLL, self.shape.max_length), self.rank)
        self.left[..., : left.shape[-1]], self.right[..., : right.shape[-1]] = left, right

    def zero_init(self) -> None:
        self.right.zero_()

    @staticmethod
    def num_params(shape: Shape, rank: int = 8, **_: Any) -> int:
        return 2 * shape.num_heads * shape.max_length * rank

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, rank: int = 8, **_: Any) -> int:
        return 2 * shape.num_heads * length * (memory or length) * rank

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        return length * shape.inner_size if path == "shared_rows" else 0


def log_table(weights_HLL: Tensor, length: int) -> Tensor:
    """R (H, N, N) for N = `length` positions from mean weights over L."""
    table = weights_HLL.clamp(min=LEAST).log()
    return _extended(table - table.mean(-1, keepdim=True), length)


def factors_of(table_HNN: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(H, N, k) twice, whose product is the matrix of rank k nearest to the table; k is at most `rank` and N."""
    left, values, right = torch.linalg.svd(table_HNN)
    k = min(rank, values.shape[-1])
    roots = values[:, None, :k].sqrt()
    return left[..., :k] * roots, right.transpose(-1, -2)[..., :k] * roots


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
