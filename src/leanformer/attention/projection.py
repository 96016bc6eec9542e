"""What every projection is: the maps that make heads of queries, keys and values, and what others ask about them.

    heads = projection(x, memory)        x (B, L, D) attends, memory (B, M, D) is attended; `memory is x` in one text

Queries have H heads. Keys and values may have fewer, G = `kv_heads`: query head h then reads key head floor(h G / H).
The vectors that are compared may be of any size C, those that are fetched are of the head size K.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention.logits import Heads
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.plain import is_plain
from leanformer.attention.shape import Shape


class Projection(nn.Module):
    """The base class: maps, and the split into heads. `parts` says which map plays which part, where each is a plain
    linear map, so that a conversion, shared heads and LoRA find it; empty if the maps are of another kind."""

    compares: ClassVar[bool] = True
    """Whether it makes queries and keys."""
    control: ClassVar[str] = ""
    """What an arm of a comparison that has this projection in place of its own controls for."""
    parts: ClassVar[Mapping[str, str]] = {}
    parameter_groups: ClassVar[Mapping[str, ParameterGroup]] = {}

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        raise NotImplementedError

    def compact(self, x: Tensor, memory: Tensor) -> Heads:
        """The heads as a decoder's cache keeps them; key and value are one tensor where `expand` makes both of one."""
        return cast(Heads, self(x, memory))

    def expand(self, heads: Heads) -> Heads:
        """The heads to attend with, given those of `compact`, of all tokens that are cached."""
        return heads

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Query of x, key and value of y, for one token each and all heads in a row, for the contract."""
        raise NotImplementedError

    @staticmethod
    def num_params(shape: Shape, *_: Any, **options: Any) -> int:
        """Number of trainable parameters, in closed form."""
        raise NotImplementedError

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, *_: Any, **options: Any) -> int:
        """Forward FLOPs of one sequence, in closed form; two for a multiply-add."""
        raise NotImplementedError

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, *_: Any, **options: Any) -> int | None:
        """Numbers that the maps of one sequence keep for the backward pass beside x; None if no closed form is known.

        `fused`: attention runs in a kernel, which keeps its inputs where the maps have left them.
        """
        return None

    @staticmethod
    def kv_heads(shape: Shape, *_: Any, **options: Any) -> int:
        """G, the number of key and value heads."""
        return shape.num_heads

    @classmethod
    def ties(cls) -> str:
        """Which parts share a map, in the order query, key, value: "qk,v" where query and key do; "" if none is
        named."""
        maps: dict[str, str] = {}
        for part in ("query", "key", "value"):
            if part in cls.parts:
                maps[cls.parts[part]] = maps.get(cls.parts[part], "") + part[0]
        return ",".join(maps.values())

    @classmethod
    def shares(cls) -> bool:
        """Whether one map, or what it makes, serves several of query, key and value."""
        return any(len(parts) > 1 for parts in cls.ties().split(","))

    def part_scale(self, part: str) -> Tensor | None:
        """Factors (E,) of the part's map behind its bias; None if it has none."""
        return None

    def pooled(self, part: str, maps: Tensor) -> Tensor:
        """What the part's own heads start from, (G, ...), given those of a model with H heads, (H, ...)."""
        return maps

    def linear(self, shape: Shape | None = None) -> nn.Linear:
        """A map from D to all heads of the layer's shape, or of this one."""
        shape = shape or self.shape
        return nn.Linear(shape.hidden_size, shape.inner_size, bias=shape.bias)

    def heads(self, x: Tensor, *maps: nn.Linear) -> list[Tensor]:
        """Returns each map of x as heads, (B, #H, L, K); in training by one product of the stacked maps.

        So x is cast and read once, forward and backward: a step of 4 layers of 256 takes 0.95 of the time on a CPU.
        Not where stacking costs more than it saves, for a few tokens, nor where a map is more than its weight.
        """
        rows = x.shape[0] * x.shape[1]
        if not torch.is_grad_enabled() or rows < self.shape.hidden_size or not all(map(is_plain, maps)):
            return [self.split(each(x)) for each in maps]
        bias = torch.cat([each.bias for each in maps]) if self.shape.bias else None
        stacked = F.linear(x, torch.cat([each.weight for each in maps]), bias)
        return [self.split(part) for part in stacked.split([each.out_features for each in maps], dim=-1)]

    def split(self, x_BLE: Tensor) -> Tensor:
        """(B, L, G K) -> (B, G, L, K)"""
        return x_BLE.unflatten(-1, (-1, self.shape.head_size)).transpose(1, 2)


def affine(linear: nn.Linear, x: Tensor) -> Tensor:
    """W x + b for one vector: the formulas' own, since a reference shares no code with what it checks."""
    product = (linear.weight * x).sum(dim=-1)
    return product if linear.bias is None else product + linear.bias
