"""Multi-query attention (Shazeer, 2019, "Fast Transformer Decoding: One Write-Head is All You Need").

All H query heads read one key head and one value head:

    q_h = x W_q,h    k = y W_k    v = y W_v        logit_h(i, j) = q_h,i . k_j / sqrt(K)

D E + 2 D K weights (b = 1 with biases: E + 2 K more) against the baseline's 3 D E, and a cache of 2 K numbers for each
token and layer against 2 E. Scores are as many as the baseline's, and so are their FLOPs.

A model with H key and value heads starts it from their means (Ainslie, Lee-Thorp, de Jong, Zemlyanskiy, Lebron and
Sanghai, 2023, "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints"), which did better
there than the first head or fresh values; a share of the training is then needed to recover.
"""

from typing import Any

from torch import Tensor, nn

from leanformer.attention.head_norm import HeadNorm
from leanformer.attention.logits import Heads
from leanformer.attention.projection import Projection, affine
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.registry import Mechanism, mechanism, register
from leanformer.attention.shape import Shape


class MultiQuery(Projection):
    """q = x W_q of H heads,  k = y W_k and v = y W_v of one:  D E + b E + 2 (D K + b K) weights, and 2 n K gains."""

    control = "one key and one value for all heads: what do keys and values of each head's own add?"
    parts = {"query": "query", "key": "key", "value": "value"}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.query = self.linear()
        self.key, self.value = (nn.Linear(shape.hidden_size, shape.head_size, bias=shape.bias) for _ in range(2))
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        # Three products: stacked, the small maps would make the unscaled query stay for the backward pass.
        query, key, value = (self.split(each) for each in (self.query(x), self.key(memory), self.value(memory)))
        return Heads(value, self.query_norm(query), self.key_norm(key))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key = self.query_norm.formula(affine(self.query, x)), self.key_norm.formula(affine(self.key, y))
        return query, key, affine(self.value, y)

    def pooled(self, part: str, maps: Tensor) -> Tensor:
        return maps if part == "query" else maps.mean(dim=0, keepdim=True)

    @staticmethod
    def kv_heads(shape: Shape, **_: Any) -> int:
        return 1

    @staticmethod
    def num_params(shape: Shape) -> int:
        return shape.linear_params + 2 * shape.head_size * (shape.hidden_size + shape.bias) + 2 * shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None) -> int:
        return shape.linear_flops(length) + 4 * (memory or length) * shape.hidden_size * shape.head_size

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, **_: Any) -> int:
        return 2 * length * shape.head_size if fused else 0


PROJECTIONS["multi_query"] = MultiQuery
register(Mechanism("multi_query", MultiQuery, mechanism("dot_product").compatibility, "Shazeer 2019"))
