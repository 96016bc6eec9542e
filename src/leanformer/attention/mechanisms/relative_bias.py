"""A bias for the distance between two tokens (Raffel et al., 2020, "T5"; with both directions also MPNet).

    logit_h(i, j) = b_h[bucket(j - i)]

Half of the n = `num_buckets` buckets are for tokens to the left and the token itself, half for those to the right. Of
these n / 2 = 2 m the first m hold one distance each, the others ranges that widen logarithmically up to `max_distance`
tokens, and the last one all that is farther:

    bucket(d) = side(|d|) + 2 m [d > 0],    side(a) = a                                                   if a < m
                                                    = min(m + floor(m ln(a / m) / ln(max_distance / m)), 2 m - 1)

Alone it compares nothing; the papers add it to a dot product: `dot_product+relative_bias`. They share one table between
all layers, and here every layer has its own, of n H numbers.
"""

from math import log
from typing import Any

import torch
from torch import Tensor

from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.position_tables import log_table
from leanformer.attention.positions import Positions
from leanformer.attention.projections import ValueOnly
from leanformer.attention.registry import Mechanism, register
from leanformer.attention.shape import Shape


class RelativeBias(Compatibility):
    """logit_h(i, j) = b_h[bucket(j - i)];  n H weights, no FLOPs."""

    compares = uses_input = False
    reads_attention = any_queries = True
    parameter_groups = {"position_tables": ParameterGroup(("table",))}
    table: Tensor

    def __init__(self, shape: Shape, num_buckets: int = 32, max_distance: int = 128, init_std: float = 0.02) -> None:
        super().__init__(shape)
        if num_buckets < 4 or num_buckets % 4:
            raise ValueError(f"num_buckets = {num_buckets} must be a positive multiple of 4")
        if max_distance <= num_buckets // 4:
            raise ValueError(f"max_distance = {max_distance} must be more than num_buckets / 4 = {num_buckets // 4}")
        self.num_buckets, self.max_distance, self.init_std = num_buckets, max_distance, init_std
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        return {"table": torch.randn(self.shape.num_heads, self.num_buckets) * self.init_std}

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        last = self.shape.max_length - 1
        distances = torch.arange(-last, last + 1, device=self.table.device)
        by_distance_HD = self.table[:, self.bucket(distances)]
        if positions.keys_in_order:  # some queries: their rows of one table for the whole batch
            place = positions.key[0]
            return Logits(bias=positions.rows(by_distance_HD[:, place - place[:, None] + last]))
        index_BLM = positions.key[:, None, :] - positions.query[:, :, None] + last
        return Logits(bias=by_distance_HD[:, index_BLM].transpose(0, 1))

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of each distance j - i, of any shape; logarithms are in float32, as in published code."""
        half = self.num_buckets // 2
        exact, far = half // 2, distance.abs()
        scale = (half - exact) / log(self.max_distance / exact)
        beyond = exact + (torch.log(far.clamp(min=1).float() / exact) * scale).long()
        return torch.where(far < exact, far, beyond.clamp(max=half - 1)) + half * (distance > 0)

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        half = self.num_buckets // 2
        edges = [half / 2 * (2 * self.max_distance / half) ** (2 * step / half) for step in range(half // 2)]
        far = abs(j - i)
        number = far if far < half // 2 else half // 2 + sum(far >= edge - 1e-6 for edge in edges) - 1
        return self.table[h, number + half * (j > i)]

    def init_from_attention(self, weights_HLL: Tensor) -> None:
        """The mean, over the pairs of places of a bucket, of the logarithms that a table would start from."""
        length = min(self.shape.max_length, weights_HLL.shape[-1])
        scores_HP = log_table(weights_HLL, length).flatten(1)
        place = torch.arange(length)
        bucket_P = self.bucket(place[None] - place[:, None]).flatten()
        counts = bucket_P.bincount(minlength=self.num_buckets).clamp(min=1)
        sums = scores_HP.new_zeros(len(scores_HP), self.num_buckets).index_add_(1, bucket_P, scores_HP)
        self.table.copy_(sums / counts)

    def zero_init(self) -> None:
        self.table.zero_()

    @staticmethod
    def num_params(shape: Shape, num_buckets: int = 32, **_: Any) -> int:
        return shape.num_heads * num_buckets

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, **_: Any) -> int:
        return 0


register(Mechanism("relative_bias", ValueOnly, RelativeBias, "Raffel et al. 2020", cross=False))
