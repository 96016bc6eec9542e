"""Latent keys and values, multi-head latent attention (DeepSeek-AI, 2024, "DeepSeek-V2: A Strong, Economical, and
Efficient Mixture-of-Experts Language Model", arXiv:2405.04434, section 2.1).

A token's keys and values of all heads are made of one latent vector of r = `rank` numbers, which a decoder caches:

    q_h = x W_q,h    c = norm(y W_c)    k_h = c U_h    v_h = c V_h        logit_h(i, j) = q_h,i . k_h,j / sqrt(K)

norm is the root-mean-square norm with a learned gain, left out with `latent_norm=false`. With rotary positions keys
are rotated after the expansion, and c is position-free. In the paper the expansion is absorbed into queries, which a
rotation in between forbids. So it decouples: R = `rotary_size` numbers per head and token are rotated, the others not.

    q'_h = x W'_h    k' = y W'_k, one for all heads
    logit_h(i, j) = (q_h,i . k_h,j + rotate(q'_h,i) . rotate(k'_j)) / sqrt(K + R)

A cache holds r + R numbers per token and layer, in place of 2 E. In the paper r = 4 K and R = K / 2; here r is 4 K if
not given, and R = 0: keys are rotated whole. R divides K, and the R / 2 pairs take every (K / R)-th of a head's
frequencies, which are those of R numbers. With learned positions R adds numbers that are compared, unrotated.

Only the query's map W_q has a bias: without rotation a key's is cancelled by softmax, and a value's is the output's.
Expansions start so that keys have the size of the baseline's: std sqrt(D / r) times that of other maps.
"""

from math import sqrt
from typing import Any, cast

import torch
from torch import Tensor, nn

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.head_norm import EPSILON, HeadNorm
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.positions import Positions, apply_rotary
from leanformer.attention.projection import Projection, affine
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.registry import Mechanism, register
from leanformer.attention.shape import Shape


def latent_size(shape: Shape, rank: int | None) -> int:
    """r; ValueError for a rank that is no positive whole number."""
    if rank is None:
        return 4 * shape.head_size
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ValueError(f"rank = {rank!r} must be a positive whole number: the size of the latent vector")
    return rank


class LatentNorm(nn.Module):
    """g_c x_c / sqrt(mean_c(x_c^2) + eps) over the r numbers of a latent vector."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.ones(size))

    def initial_values(self) -> dict[str, Tensor]:
        return {"weight": torch.ones(self.size)}

    def forward(self, x: Tensor) -> Tensor:
        square = (x * x).mean(dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        return x * (square + EPSILON).rsqrt().to(x.dtype) * self.weight.to(x.dtype)

    def formula(self, x: Tensor) -> Tensor:
        return self.weight * x * ((x * x).sum() / len(x) + EPSILON) ** -0.5


class Latent(Projection):
    """D E + b E + D r + 2 r E parameters, r gains of the norm and 2 n K of queries and keys;
    2 L D E + 2 M (D r + 2 r E) FLOPs.
    """

    control = "keys and values of one narrow vector: what do maps of full rank add?"

    def __init__(self, shape: Shape, rank: int | None = None, latent_norm: bool = True) -> None:
        super().__init__(shape)
        self.rank = latent_size(shape, rank)
        width, inner = shape.hidden_size, shape.inner_size
        self.query = self.linear()
        self.latent = nn.Linear(width, self.rank, bias=False)
        self.key, self.value = (nn.Linear(self.rank, inner, bias=False) for _ in range(2))
        for expansion in (self.key, self.value):
            cast(Any, expansion).initial_scale = sqrt(width / self.rank)
        self.latent_norm = LatentNorm(self.rank) if latent_norm else nn.Identity()
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)

    @classmethod
    def shares(cls) -> bool:
        return True

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        return self.expand(self.compact(x, memory))

    def compact(self, x: Tensor, memory: Tensor) -> Heads:
        """Key and value are the latent vector, one tensor of one head."""
        latent_B1MR = self.latent_norm(self.latent(memory))[:, None]
        return Heads(latent_B1MR, self.query_norm(self.split(self.query(x))), latent_B1MR)

    def expand(self, heads: Heads) -> Heads:
        latent_BMR = heads.value[:, 0]
        key, value = (self.split(expansion(latent_BMR)) for expansion in (self.key, self.value))
        return heads._replace(value=value, key=self.key_norm(key))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent = affine(self.latent, y)
        if isinstance(self.latent_norm, LatentNorm):
            latent = self.latent_norm.formula(latent)
        query = self.query_norm.formula(affine(self.query, x))
        return query, self.key_norm.formula(affine(self.key, latent)), affine(self.value, latent)

    @staticmethod
    def num_params(shape: Shape, rank: int | None = None, latent_norm: bool = True, **_: Any) -> int:
        size = latent_size(shape, rank)
        maps = size * (shape.hidden_size + 2 * shape.inner_size)
        return shape.linear_params + maps + latent_norm * size + 2 * shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, rank: int | None = None, **_: Any) -> int:
        maps = latent_size(shape, rank) * (shape.hidden_size + 2 * shape.inner_size)
        return shape.linear_flops(length) + 2 * (memory or length) * maps

    @staticmethod
    def kept(
        shape: Shape, length: int, fused: bool, rank: int | None = None, latent_norm: bool = True, **_: Any
    ) -> int:
        """The latent vector, with its norm three times and a factor; in a kernel keys and values."""
        size = latent_size(shape, rank)
        return length * ((3 * size + 1 if latent_norm else size) + (2 * shape.inner_size if fused else 0))


class DecoupledLatent(Latent):
    """Latent keys and values with a rotated part: D H R + D R parameters and 2 D R (L H + M) FLOPs more."""

    def __init__(self, shape: Shape, rank: int | None = None, latent_norm: bool = True, rotary_size: int = 0) -> None:
        super().__init__(shape, rank, latent_norm)
        self.rotary_size = require_rotary_size(shape, rotary_size)
        if rotary_size:
            self.rotary_query = nn.Linear(shape.hidden_size, shape.num_heads * rotary_size, bias=False)
            self.rotary_key = nn.Linear(shape.hidden_size, rotary_size, bias=False)

    def compact(self, x: Tensor, memory: Tensor) -> Heads:
        """The key is the part that is to be rotated, of one head, and the value the latent vector."""
        heads = super().compact(x, memory)
        if not self.rotary_size:
            return heads
        own = self.rotary_query(x).unflatten(-1, (self.shape.num_heads, -1)).transpose(1, 2)
        query = torch.cat((cast(Tensor, heads.query), own), dim=-1)
        return heads._replace(query=query, key=self.rotary_key(memory)[:, None])

    def expand(self, heads: Heads) -> Heads:
        expanded = super().expand(heads)
        if not self.rotary_size:
            return expanded
        rotated = cast(Tensor, heads.key).expand(-1, self.shape.num_heads, -1, -1)
        return expanded._replace(key=torch.cat((cast(Tensor, expanded.key), rotated), dim=-1))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = super().formula(x, y)
        if not self.rotary_size:
            return query, key, value
        heads = self.shape.num_heads
        own, common = affine(self.rotary_query, x).view(heads, -1), affine(self.rotary_key, y)
        query = torch.cat([torch.cat(pair) for pair in zip(query.view(heads, -1), own, strict=True)])
        key = torch.cat([torch.cat((each, common)) for each in key.view(heads, -1)])
        return query, key, value

    @staticmethod
    def num_params(
        shape: Shape, rank: int | None = None, latent_norm: bool = True, rotary_size: int = 0, **_: Any
    ) -> int:
        added = shape.hidden_size * rotary_size * (shape.num_heads + 1)
        return Latent.num_params(shape, rank, latent_norm) + added

    @staticmethod
    def flops(
        shape: Shape,
        length: int,
        memory: int | None = None,
        rank: int | None = None,
        latent_norm: bool = True,
        rotary_size: int = 0,
        **_: Any,
    ) -> int:
        tokens = shape.num_heads * length + (memory or length)
        return Latent.flops(shape, length, memory, rank) + 2 * shape.hidden_size * rotary_size * tokens


def require_rotary_size(shape: Shape, size: int) -> int:
    """R; ValueError unless it is 0, or even and a divisor of the head size."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 0 or size % 2 or (size and shape.head_size % size):
        able = [str(number) for number in range(2, shape.head_size + 1, 2) if shape.head_size % number == 0]
        raise ValueError(
            f"rotary_size = {size!r} is the part of a key that is rotated by itself: an even divisor "
            f"of the head size {shape.head_size}: choose one of {', '.join(['0', *able])}"
        )
    return size


class Decoupled(Compatibility):
    """logit_h(i, j) = q_i . rotate(k_j) / sqrt(C) with the last R of C = K + R numbers rotated, or all where R = 0;
    no weights, 2 H C L M FLOPs."""

    in_grid = False  # without a rotated part it is the dot product

    def __init__(self, shape: Shape, rotary_size: int = 0) -> None:
        super().__init__(shape)
        self.rotary_size = require_rotary_size(shape, rotary_size)

    def rotated_size(self, compared: int) -> int:
        return self.rotary_size or compared

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        query, key, rotated = cast(Tensor, heads.query), cast(Tensor, heads.key), self.rotary_size
        if query.shape[-1] != self.shape.head_size + rotated:
            raise ValueError(f"rotary_size = {rotated}: this projection makes no such keys, leave out one of the two")
        scale = query.shape[-1] ** -0.5
        if not rotated or positions.query_rotation is None or positions.key_rotation is None:
            query, key = positions.rotate(query, key)
            return Logits(query * scale, key)
        sides = (query * scale, positions.query_rotation), (key, positions.key_rotation)
        return Logits(*(self._partly(side, *rotation) for side, rotation in sides))

    def _partly(self, side: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotates the last R numbers, by every n-th of the model's frequencies."""
        still, own = side.split((side.shape[-1] - self.rotary_size, self.rotary_size), dim=-1)
        step = 2 * cos.shape[-1] // self.rotary_size
        return torch.cat((still, apply_rotary(own, cos[..., ::step], sin[..., ::step])), dim=-1)

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        return (q * k).sum() / sqrt(len(q))

    @staticmethod
    def num_params(shape: Shape, rotary_size: int = 0) -> int:
        return 0

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, rotary_size: int = 0) -> int:
        return 2 * (shape.inner_size + shape.num_heads * rotary_size) * length * (memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, rotary_size: int = 0, **_: Any) -> int | None:
        """As the dot product; a rotated part is too long for a CPU's kernel, and no closed form is known with it."""
        return None if rotary_size else (1 if path == "fused" else 2) * length * shape.inner_size


PROJECTIONS["latent"] = Latent
register(Mechanism("latent", DecoupledLatent, Decoupled, "DeepSeek-AI 2024"))
