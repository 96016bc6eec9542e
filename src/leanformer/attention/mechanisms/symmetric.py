"""Symmetric and pairwise attention (Courtois, Ostendorff, Hennig and Rehm, 2024, "Symmetric Dot-Product Attention for
Efficient Training of BERT Language Models", Findings of ACL 2024).

One map W with bias b makes a token comparable, t = x W + b, for queries and keys alike:

    symmetric   logit_h(i, j) = t_i . t_j / sqrt(K)            2 (D^2 + D) weights with the value's
    pairwise    logit_h(i, j) = t_i U_h t_j' / sqrt(K)         2 (D^2 + D) + D K

Against the baseline's 3 (D^2 + D) weights. Symmetric scores are a Gram matrix: token i compares to j as j to i, and
no token scores itself below zero. The K x K coefficients U_h of a head, full and unconstrained, make the comparison
directed again; U_h = I gives the symmetric form back.

The authors' code draws U_h from N(0, 1) (`normal`), which starts the logits sqrt(K) times as large as the baseline's,
and so attention sharp instead of uniform; `scaled_normal`, N(0, 1/K), and `identity` start without that difference.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.positions import Positions
from leanformer.attention.projections import SharedQueryKey
from leanformer.attention.registry import Mechanism, mechanism, register
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest

INITS = {
    "normal": lambda heads, size: torch.randn(heads, size, size),
    "scaled_normal": lambda heads, size: torch.randn(heads, size, size) / sqrt(size),
    "identity": lambda heads, size: torch.eye(size).repeat(heads, 1, 1),
}


class Pairwise(Compatibility):
    """logit_h(i, j) = q_i U_h k_j' / sqrt(K),  U of shape (H, K, K);  E K weights, 2 E (K L + L M) FLOPs."""

    family = "matrix"
    coefficients: Tensor

    def __init__(self, shape: Shape, coefficients_init: str = "normal") -> None:
        super().__init__(shape)
        if coefficients_init not in INITS:
            raise ValueError(f"coefficients_init = {coefficients_init!r}; {suggest(coefficients_init, INITS)}")
        self.coefficients_init = coefficients_init
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        return {"coefficients": INITS[self.coefficients_init](self.shape.num_heads, self.shape.head_size)}

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        # The scale goes into the coefficients, which are smaller than the queries.
        mapped = heads.query @ (self.coefficients * self.shape.head_size**-0.5)
        return Logits(*positions.rotate(mapped, heads.key))

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        return (q[:, None] * self.coefficients[h] * k[None, :]).sum() / sqrt(len(q))

    def bilinear_form(self) -> Tensor:
        return self.coefficients.detach().double() * self.shape.head_size**-0.5

    def set_bilinear_form(self, form_HCC: Tensor) -> None:
        self.coefficients.copy_(form_HCC / self.shape.head_size**-0.5)

    @staticmethod
    def num_params(shape: Shape, coefficients_init: str = "normal") -> int:
        return shape.inner_size * shape.head_size

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, coefficients_init: str = "normal") -> int:
        return 2 * shape.inner_size * length * (shape.head_size + (memory or length))

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        return 3 * length * shape.inner_size + shape.inner_size * shape.head_size


DotProduct = mechanism("dot_product").compatibility

register(Mechanism("symmetric", SharedQueryKey, DotProduct, "Courtois et al. 2024"))
register(Mechanism("pairwise", SharedQueryKey, Pairwise, "Courtois et al. 2024"))
