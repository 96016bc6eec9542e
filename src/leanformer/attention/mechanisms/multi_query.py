"""Multi-query attention (Shazeer, 2019, "Fast Transformer Decoding: One Write-Head is All You Need").

All H query heads read one key head and one value head, which are grouped heads (`grouped_heads`) with G = 1:

    q_h = x W_q,h    k = y W_k    v = y W_v        logit_h(i, j) = q_h,i . k_j / sqrt(K)

D E + 2 D K weights (b = 1 with biases: E + 2 K more) against the baseline's 3 D E, and a cache of 2 K numbers for each
token and layer against 2 E. The published name of `dot_product[kv_heads=1]`.
"""

from typing import Any

from leanformer.attention.projections import PROJECTIONS, Separate
from leanformer.attention.registry import Mechanism, mechanism, register
from leanformer.attention.shape import Shape


class MultiQuery(Separate):
    """q = x W_q of H heads,  k = y W_k and v = y W_v of one:  D E + b E + 2 (D K + b K) weights, and 2 n K gains."""

    control = "one key and one value for all heads: what do keys and values of each head's own add?"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, kv_heads=1)

    @staticmethod
    def kv_heads(shape: Shape, *_: Any, **options: Any) -> int:
        return 1

    @staticmethod
    def num_params(shape: Shape, *_: Any, **options: Any) -> int:
        return Separate.num_params(shape, kv_heads=1)

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, *_: Any, **options: Any) -> int:
        return Separate.flops(shape, length, memory, kv_heads=1)

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, *_: Any, **options: Any) -> int:
        return Separate.kept(shape, length, fused, kv_heads=1)


PROJECTIONS["multi_query"] = MultiQuery
register(Mechanism("multi_query", MultiQuery, mechanism("dot_product").compatibility, "Shazeer 2019"))
