"""Scaled dot-product attention (Vaswani et al., 2017, "Attention Is All You Need", section 3.2): the baseline."""

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.positions import Positions
from leanformer.attention.projections import Separate
from leanformer.attention.registry import Mechanism, register
from leanformer.attention.shape import Shape


class DotProduct(Compatibility):
    """logit_h(i, j) = q_i . k_j / sqrt(K);  no weights of its own, 2 E L M FLOPs.

    Without division if not `scaled`: logits sqrt(K) times as large all along, at the start and in how fast they move,
    as N(0, 1) coefficients make them.
    """

    family = "scale"

    def __init__(self, shape: Shape, scaled: bool = True) -> None:
        super().__init__(shape)
        self.scaled = scaled
        self.scale = shape.head_size**-0.5 if scaled else 1.0

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        query, key = positions.rotate(heads.query, heads.key)
        return Logits(query * self.scale, key)

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        return (q * k).sum() / (sqrt(len(q)) if self.scaled else 1.0)

    def bilinear_form(self) -> Tensor:
        identity = torch.eye(self.shape.head_size, dtype=torch.float64) * self.scale
        return identity.expand(self.shape.num_heads, -1, -1)

    @staticmethod
    def num_params(shape: Shape, scaled: bool = True) -> int:
        return 0

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, scaled: bool = True) -> int:
        return 2 * shape.inner_size * length * (memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        return (1 if path == "fused" else 2) * length * shape.inner_size


register(Mechanism("dot_product", Separate, DotProduct, "Vaswani et al. 2017"))
