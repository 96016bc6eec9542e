"""Where queries and keys stand, and rotary position embeddings (Su et al., 2021, "RoFormer")."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotary:
    """Rotary positions: pair c of a head's K / 2 pairs turns by the angle  p base^(-2 c / K)  at position p.

    A pair is (x_c, x_{c + K/2}). The dot product of a turned query and a turned key depends on their distance only.
    """

    head_size: int
    base: float = 10_000.0

    def __post_init__(self) -> None:
        if self.head_size % 2:
            raise ValueError(f"rotary positions turn pairs of numbers: head size {self.head_size} must be even")

    def turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of the angles, each (#B, 1, L, K / 2), in float32 or better."""
        pair = torch.arange(self.head_size // 2, device=positions.device, dtype=torch.float64)
        frequency = self.base ** (-2 * pair / self.head_size)
        angle = (positions[:, None, :, None] * frequency).to(torch.get_default_dtype())
        return angle.cos(), angle.sin()


class Positions(NamedTuple):
    """Positions of the queries (#B, L) and of the keys (#B, M), and their turns if positions are rotary.

    A compatibility indexes its tables by them and rotates what it compares; made once a forward pass, not once a layer.
    """

    query: Tensor
    key: Tensor
    query_turn: tuple[Tensor, Tensor] | None = None
    key_turn: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, query: Tensor, key: Tensor | None = None, rotary: Rotary | None = None) -> "Positions":
        query_turn = None if rotary is None else rotary.turn(query)
        if key is None:
            return cls(query, query, query_turn, query_turn)
        return cls(query, key, query_turn, None if rotary is None else rotary.turn(key))

    def rotate(self, query_BHLK: Tensor | None, key_BHMK: Tensor | None) -> tuple[Tensor, Tensor]:
        """Query and key as they are compared: turned to where they stand, or unchanged if positions are not rotary."""
        if query_BHLK is None or key_BHMK is None:
            raise ValueError("this compatibility compares queries with keys, and the projection makes none")
        if self.query_turn is None or self.key_turn is None:
            return query_BHLK, key_BHMK
        query = _turned(query_BHLK, *self.query_turn)
        if key_BHMK is query_BHLK and self.key_turn is self.query_turn:
            return query, query
        return query, _turned(key_BHMK, *self.key_turn)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
