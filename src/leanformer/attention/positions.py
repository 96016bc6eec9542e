"""Where queries and keys stand, and rotary position embeddings (Su et al., 2021, "RoFormer")."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from leanformer.attention.some_queries import take


@dataclass(frozen=True)
class Rotary:
    """Rotary positions: pair c of a head's K / 2 pairs is rotated by the angle  p base^(-2 c / K)  at position p.

    A pair is (x_c, x_{c + K/2}). The dot product of a rotated query and a rotated key depends on their distance only.
    """

    head_size: int
    base: float = 10_000.0

    def __post_init__(self) -> None:
        if self.head_size % 2:
            raise ValueError(f"rotary positions rotate pairs of numbers: head size {self.head_size} must be even")

    def cos_sin(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of the angles, each (#B, 1, L, K / 2), in float32 or better."""
        pair = torch.arange(self.head_size // 2, device=positions.device, dtype=torch.float64)
        frequency = self.base ** (-2 * pair / self.head_size)
        angle = (positions[:, None, :, None] * frequency).to(torch.get_default_dtype())
        return angle.cos(), angle.sin()


class Positions(NamedTuple):
    """Positions of the queries (#B, L) and of the keys (#B, M), and their rotations (cos, sin) if positions are rotary.

    A compatibility indexes its tables by them and rotates what it compares; made once a forward pass, not once a layer.
    `start` is the first query's position where all queries count start, start + 1, ... and all keys 0, 1, 2, ...: then
    a table is cut, not looked up, and the cut is the same for the whole batch. Elsewhere it is None. `keys_in_order`
    says that the keys alone count so, since the queries are those of some places.
    """

    query: Tensor
    key: Tensor
    query_rotation: tuple[Tensor, Tensor] | None = None
    key_rotation: tuple[Tensor, Tensor] | None = None
    start: int | None = None
    keys_in_order: bool = False

    @classmethod
    def of(cls, query: Tensor, key: Tensor | None = None, rotary: Rotary | None = None) -> "Positions":
        query_rotation = None if rotary is None else rotary.cos_sin(query)
        if key is None:
            return cls(query, query, query_rotation, query_rotation)
        return cls(query, key, query_rotation, None if rotary is None else rotary.cos_sin(key))

    @classmethod
    def counted(
        cls, length: int, memory: int, device: torch.device, rotary: Rotary | None = None, start: int = 0
    ) -> "Positions":
        """Queries start, start + 1, ..., start + `length` - 1 and keys 0, 1, ..., `memory` - 1."""
        key = torch.arange(memory, device=device)[None]
        if start == 0 and length == memory:
            return cls.of(key, rotary=rotary)._replace(start=0)
        query = torch.arange(start, start + length, device=device)[None]
        return cls.of(query, key, rotary)._replace(start=start)

    def at(self, places_BN: Tensor) -> "Positions":
        """The same keys, and the queries at these places of the sequence, (B, N)."""
        size = places_BN.shape[0]
        query = take(self.query.expand(size, -1)[..., None], places_BN)[..., 0]
        some = Positions(query, self.key, keys_in_order=self.cuts_keys)
        if self.query_rotation is None:
            return some
        cos, sin = (take(part[:, 0], places_BN)[:, None] for part in self.query_rotation)
        return some._replace(query_rotation=(cos, sin), key_rotation=self.key_rotation)

    @property
    def cuts_keys(self) -> bool:
        """Whether all keys count 0, 1, 2, ..."""
        return self.start is not None or self.keys_in_order

    def rows(self, table_HNC: Tensor) -> Tensor:
        """The rows of a table that belong to the queries; (#B, H, L, C)."""
        if self.start is not None:
            return table_HNC[None, :, self.start : self.start + self.query.shape[-1]]
        # Whole rows are copied, and their gradients are added as rows: `table[:, query]` would do so number by number.
        return table_HNC.index_select(1, self.query.flatten()).unflatten(1, self.query.shape).transpose(0, 1)

    def memory_rows(self, table_HNC: Tensor) -> Tensor:
        """The rows of a table that belong to the keys; (#B, H, M, C)."""
        if self.cuts_keys:
            return table_HNC[None, :, : self.key.shape[-1]]
        return table_HNC[:, self.key].transpose(0, 1)

    def columns(self, table: Tensor) -> Tensor:
        """The columns of a table (H, C, N), or of one a batch row (#B, H, C, N), of the keys; (#B, H, C, M)."""
        if self.cuts_keys:
            cut = table[..., : self.key.shape[-1]]
            return cut if table.ndim == 4 else cut[None]
        rows = table[None] if table.ndim == 3 else table
        size = max(len(rows), len(self.key)), *rows.shape[1:3], self.key.shape[-1]
        return rows.expand(size[0], -1, -1, -1).gather(-1, self.key[:, None, None, :].expand(size))

    def rotate(self, query_BHLK: Tensor | None, key_BHMK: Tensor | None) -> tuple[Tensor, Tensor]:
        """Query and key as they are compared: rotated to where they stand, or unchanged if positions are not rotary."""
        if query_BHLK is None or key_BHMK is None:
            raise ValueError("this compatibility compares queries with keys, and the projection makes none")
        if self.query_rotation is None or self.key_rotation is None:
            return query_BHLK, key_BHMK
        if query_BHLK.shape[-1] != 2 * self.query_rotation[0].shape[-1]:
            raise ValueError(
                f"rotary positions rotate {2 * self.query_rotation[0].shape[-1]} numbers of a head, and "
                f"{query_BHLK.shape[-1]} are compared: compare as many, or take learned positions"
            )
        query = apply_rotary(query_BHLK, *self.query_rotation)
        if key_BHMK is query_BHLK and self.key_rotation is self.query_rotation:
            return query, query
        return query, apply_rotary(key_BHMK, *self.key_rotation)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Returns each pair, as a complex number, times cos + i sin: (..., K) by (..., K / 2), broadcast to it."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if not torch.compiler.is_compiling():
        return _ApplyRotary.apply(x, cos, sin)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class _ApplyRotary(torch.autograd.Function):
    """The formula above in four passes over half of x, and backward in four more: a rotation the other way.

    Written out, autograd makes thirteen of them, and a compiler one. Angles may learn, too:
    dcos = sum g_1 x_1 + g_2 x_2,  dsin = sum g_2 x_1 - g_1 x_2, over what they were broadcast to.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin, x if any(ctx.needs_input_grad[1:]) else None)
        y = x.new_empty(x.shape)
        first, second = x.chunk(2, dim=-1)
        rotated_first, rotated_second = y.chunk(2, dim=-1)
        torch.mul(first, cos, out=rotated_first).addcmul_(second, sin, value=-1)
        torch.mul(second, cos, out=rotated_second).addcmul_(first, sin)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, x = ctx.saved_tensors
        dx = _ApplyRotary.apply(gradient, cos, -sin) if ctx.needs_input_grad[0] else None
        if x is None:
            return dx, None, None
        (x1, x2), (g1, g2) = x.chunk(2, dim=-1), gradient.chunk(2, dim=-1)
        return dx, (g1 * x1 + g2 * x2).sum_to_size(cos.shape), (g2 * x1 - g1 * x2).sum_to_size(sin.shape)
