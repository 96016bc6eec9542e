"""A fixed two-dimensional sine per pair of positions, with learned weights (Kayyam, Madan Gopal and Lewis, 2026, "Do
Transformers Need Three Projections?", arXiv:2606.04032, its (X)+ variants; Borji, 2023, "Key-Value Transformer").

    logit_h(i, j) = w . P_ij,    P_ij = (sin f_c j, cos f_c j, sin f_c i, cos f_c i)  for c = 0 ... m/4 - 1

    f_c = 10000^(-4 c / m),    m = `channels` numbers per pair

P is the usual two-dimensional position encoding: half of its channels are the sinusoids of the key's position and half
those of the query's (Wang and Liu, 2021). The papers map it to one number by a 1 x 1 convolution, and add that to
scores that are symmetric where query and key are one map: `symmetric+position_2d`, `shared+position_2d`. All heads
share w; with `per_head` each has its own. Whether a layer has weights of its own, and m, the texts leave open.

The sum is a(i) + b(j), and softmax cancels a(i): what remains is a bias by the key's position, equal for all queries.
So s_ij and s_ji differ, by b(j) - b(i), but no head can ask for the token before or after its own. The weights of the
query's half are kept, since the papers have them, and never matter. As a sum P needs no product of n^2 m FLOPs.
"""

from math import cos, sin, sqrt
from typing import Any

import torch
from torch import Tensor

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.position_tables import log_table
from leanformer.attention.positions import Positions
from leanformer.attention.projections import ValueOnly
from leanformer.attention.registry import Mechanism, register
from leanformer.attention.shape import Shape

BASE = 10_000.0


class Position2D(Compatibility):
    """logit_h(i, j) = w . P_ij;  m weights (H m with `per_head`), no matrix product: m (L + M) / 2 multiply-adds for
    each w, once for a whole batch.

    Weights start from N(0, `init_std`^2 4 / m): what softmax leaves of the logits starts at the size `init_std`.
    """

    compares = uses_input = False
    reads_attention = any_queries = True
    weight: Tensor

    def __init__(self, shape: Shape, channels: int = 64, per_head: bool = False, init_std: float = 0.02) -> None:
        super().__init__(shape)
        if channels < 4 or channels % 4:
            raise ValueError(
                f"channels = {channels} must be a positive multiple of 4: a sine and a cosine of i and of j"
            )
        self.channels, self.per_head, self.init_std = channels, per_head, init_std
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        size = (self.shape.num_heads, self.channels) if self.per_head else (self.channels,)
        return {"weight": torch.randn(size) * (self.init_std * sqrt(4 / self.channels))}

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        of_key, of_query = self.weight.view(-1, self.channels).chunk(2, dim=-1)
        row, column = (
            (self.sines(place, weight)[:, None] * weight[:, None]).sum(-1)  # (B, H, L)
            for place, weight in ((positions.query, of_query), (positions.key, of_key))
        )
        return Logits(bias=row[..., None] + column[:, :, None])

    def sines(self, position: Tensor, like: Tensor) -> Tensor:
        """(..., L) -> (..., L, m / 2): all sines and then all cosines of these positions."""
        number = torch.arange(self.channels // 4, device=position.device, dtype=torch.float64)
        angle = position[..., None] * BASE ** (-4 * number / self.channels)
        return torch.cat((angle.sin(), angle.cos()), dim=-1).to(like.dtype)

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        angles = [BASE ** (-4 * c / self.channels) for c in range(self.channels // 4)]
        pair = [f(p * a) for p in (j, i) for f in (sin, cos) for a in angles]
        weight = self.weight[h] if self.per_head else self.weight
        return sum((w * number for w, number in zip(weight, pair, strict=True)), x.new_zeros(()))

    def init_from_attention(self, weights_HLL: Tensor) -> None:
        """The sinusoids nearest to the means, over all queries, of the logarithms that a table would start from."""
        length = min(self.shape.max_length, weights_HLL.shape[-1])
        wanted_HL = log_table(weights_HLL, length).mean(dim=1).double()
        sines = self.sines(torch.arange(length, device=wanted_HL.device), wanted_HL)
        found = wanted_HL @ torch.linalg.pinv(sines - sines.mean(0)).T
        self.weight.zero_()
        self.weight[..., : self.channels // 2] = found if self.per_head else found.mean(0)

    def zero_init(self) -> None:
        self.weight.zero_()

    @staticmethod
    def num_params(shape: Shape, channels: int = 64, per_head: bool = False, **_: Any) -> int:
        return channels * (shape.num_heads if per_head else 1)

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, **_: Any) -> int:
        return 0

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        return length * shape.inner_size if path == "shared_rows" else 0


register(Mechanism("position_2d", ValueOnly, Position2D, "Kayyam et al. 2026", cross=False))
