"""No query map (Karbevski and Mijoski, 2025, arXiv:2510.23912): the input is the query.

    q = x, cut into heads    k = y W_k    v = y W_v

Without normalisation between layers a model with a query map can be rewritten as one without; with it the claim is that
training reaches the same loss. Head h sees the h-th K channels of its query alone. Logits start larger than the
baseline's, since x has unit variance and a projected query has not.
"""

from typing import Any

from torch import Tensor

from leanformer.attention.head_norm import HeadNorm
from leanformer.attention.logits import Heads
from leanformer.attention.projection import Projection, affine
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.shape import Shape


class IdentityQuery(Projection):
    """2 (D E + b E) parameters and 2 n K gains; ValueError unless E = D, so that the heads are parts of the input."""

    control = "no query map: does attention need three?"
    parts = {"key": "key", "value": "value"}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        if shape.inner_size != shape.hidden_size:
            raise ValueError(
                f"projection = 'identity_query' cuts the input into heads, and {shape.num_heads} heads of "
                f"{shape.head_size} are not hidden_size = {shape.hidden_size}: leave out head_size"
            )
        self.key, self.value = self.linear(), self.linear()
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        key, value = self.heads(memory, self.key, self.value)
        return Heads(value, self.query_norm(self.split(x).to(key.dtype)), self.key_norm(key))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.query_norm.formula(x), self.key_norm.formula(affine(self.key, y)), affine(self.value, y)

    @staticmethod
    def num_params(shape: Shape) -> int:
        return 2 * shape.linear_params + 2 * shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None) -> int:
        return 2 * shape.linear_flops(memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, **_: Any) -> int:
        return 2 * length * shape.inner_size if fused else 0


PROJECTIONS["identity_query"] = IdentityQuery
