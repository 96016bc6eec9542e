"""Grouped heads: fewer heads of keys and values than of queries (Ainslie, Lee-Thorp, de Jong, Zemlyanskiy, Lebron and
Sanghai, 2023, "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints").

    query head h reads key and value head floor(h G / H),      G = `kv_heads`, a divisor of H

    query  B H L K        key  B G M K        value  B G M K        logits  B H L M

A map of keys or of values has D G K + b G K weights in place of D E + b E (b = 1 with biases, E = H K) and takes
2 D G K FLOPs per token; a decoder's cache holds 2 G K numbers per token and layer, or G K where keys are the values.
Scores, and their FLOPs, are as many as ever. G = H is attention as it was, G = 1 multi-query attention.

A model with H heads of keys starts grouped ones from the means of the groups, which did better in the paper than the
first head of each or fresh values; a share of the training is then needed to recover. Drawn afresh, a map of G heads
has the values of the first G heads of a map of H (`models/initialisation`).
"""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from leanformer.attention.projection import Projection
from leanformer.attention.shape import Shape


def kv_shape(shape: Shape, kv_heads: int | None) -> Shape:
    """The shape of keys and values, of G heads or, with None, of H. ValueError unless G divides H."""
    heads = shape.num_heads
    if kv_heads is None:
        return shape
    if isinstance(kv_heads, bool) or not isinstance(kv_heads, int) or kv_heads < 1 or heads % kv_heads:
        able = ", ".join(str(number) for number in range(1, heads + 1) if heads % number == 0)
        raise ValueError(
            f"kv_heads = {kv_heads!r}: {heads} query heads read them in equal groups, so choose one of {able}"
        )
    return replace(shape, num_heads=kv_heads)


def kept_query(shape: Shape, kv_heads: int | None) -> int:
    """Numbers of a query before its scaling that stay for the backward pass of a kernel: those of a stacked product."""
    return shape.inner_size if kv_shape(shape, kv_heads).num_heads == shape.num_heads else 0


class GroupedHeads(Projection):
    """The base of projections whose keys and values have maps apart from the queries', and so may have fewer heads."""

    def __init__(self, shape: Shape, kv_heads: int | None = None) -> None:
        super().__init__(shape)
        self.kv_shape = kv_shape(shape, kv_heads)

    def heads(self, x: Tensor, *maps: nn.Linear) -> list[Tensor]:
        """Not stacked where maps are small: the unscaled query would stay with them for the backward pass."""
        if self.kv_shape.num_heads < self.shape.num_heads:
            return [self.split(each(x)) for each in maps]
        return super().heads(x, *maps)

    def pooled(self, part: str, maps: Tensor) -> Tensor:
        return maps if part == "query" else maps.unflatten(0, (self.kv_shape.num_heads, -1)).mean(dim=1)

    @staticmethod
    def kv_heads(shape: Shape, kv_heads: int | None = None, **_: Any) -> int:
        return kv_shape(shape, kv_heads).num_heads
