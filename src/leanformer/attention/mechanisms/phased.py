"""Phased attention: a tied comparison that knows before from after (unpublished).

With rotary positions a head's query and key are K / 2 complex numbers each, rotated by their positions p at frequencies
theta_c (`positions.py`). A learned phase and a learned gain a head and frequency multiply the query's:

    logit_h(i, j) = Re sum_c  g_hc e^(i phi_hc)  q_c conj(k_c)  e^(i theta_c (p_i - p_j)) / sqrt(K)

With one map for query and key (`symmetric`, and `shared` at its start) a token t meets an equal one by
t_c conj(t_c) = |t_c|^2, a real number, and phi = 0 leaves

    sum_c |t_c|^2 cos(theta_c (p_i - p_j)) / sqrt(K),

even in the offset: "the one before" cannot be asked for without "the one after". A phase is an offset:
phi_c = theta_c d moves all scores by d places, so that the head looks d ahead. A map that is diagonal on the rotary
planes commutes with the rotation: scores see distances only. H K weights a layer break the symmetry, where `pairwise`
takes H K^2; with phases 0 and gains 1 it is the dot product. Cross-attention is not rotated, and is refused.
"""

from typing import Any

import torch
from torch import Tensor, nn

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.positions import Positions, apply_rotary
from leanformer.attention.projections import SharedQueryKey
from leanformer.attention.registry import Mechanism, register
from leanformer.attention.shape import Shape


class Phased(Compatibility):
    """The formula above, phases and gains of shape (H K / 2,) each: H K weights, 2 E L M FLOPs as the dot product.

    Gains start at 1, phases at N(0, `phase_std`^2): at zero if that is 0, where nothing is directed yet. Vectors, they
    do not decay. Without `phases` all of them stay 0, without `gains` these stay 1: half the weights, for ablations.
    ValueError if the head size is odd.
    """

    rotary = any_queries = True
    family = "planes"
    kept_with = ("shared_query_key", "shared_key_value", "shared_query_value")
    parameter_groups = {"phases": ParameterGroup(("phases", "gains"), multiplier=30.0)}
    phases: Tensor
    gains: Tensor

    def __init__(self, shape: Shape, phase_std: float = 1.0, phases: bool = True, gains: bool = True) -> None:
        super().__init__(shape)
        if shape.head_size % 2:
            raise ValueError(f"phases rotate pairs of numbers: head size {shape.head_size} must be even")
        if phase_std < 0:
            raise ValueError(f"phase_std = {phase_std} must not be negative")
        if not (phases or gains):
            raise ValueError("phased with neither phases nor gains is symmetric: use that")
        self.phase_std = phase_std if phases else 0.0
        learned = {"phases": phases, "gains": gains}
        for name, value in self.initial_values().items():
            if learned[name]:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def initial_values(self) -> dict[str, Tensor]:
        size = self.shape.inner_size // 2
        return {"phases": torch.randn(size) * self.phase_std, "gains": torch.ones(size)}

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        # Rotated first: what is both query and key is rotated once for both.
        query, key = positions.rotate(heads.query, heads.key)
        phase_H1C, gain_H1C = (part.view(self.shape.num_heads, 1, -1) for part in (self.phases, self.gains))
        gain_H1C = gain_H1C * self.shape.head_size**-0.5
        return Logits(apply_rotary(query, gain_H1C * phase_H1C.cos(), gain_H1C * phase_H1C.sin()), key)

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        """One logit at equal positions."""
        pairs = len(q) // 2
        part = slice(h * pairs, (h + 1) * pairs)
        query, key = (torch.complex(both[:pairs], both[pairs:]) for both in (q, k))
        factor = self.gains[part] * torch.exp(1j * self.phases[part])
        return (factor * query * key.conj()).real.sum() / len(q) ** 0.5

    def bilinear_form(self) -> Tensor:
        parts = (part.detach().double().view(self.shape.num_heads, -1) for part in (self.phases, self.gains))
        phase_HC, gain_HC = parts
        gain_HC = gain_HC * self.shape.head_size**-0.5
        cos, sin = (torch.diag_embed(gain_HC * f(phase_HC)) for f in (torch.cos, torch.sin))
        return torch.cat((torch.cat((cos, sin), -1), torch.cat((-sin, cos), -1)), -2)

    def set_bilinear_form(self, form_HCC: Tensor) -> None:
        """Takes the multiple of a rotation nearest to each plane's 2 x 2 block (p, q; r, s): (p + s, q - r) / 2."""
        half = self.shape.head_size // 2
        p, q, r, s = (
            form_HCC[:, rows, columns].diagonal(dim1=1, dim2=2)
            for rows in (slice(half), slice(half, None))
            for columns in (slice(half), slice(half, None))
        )
        factor_HC = torch.complex(p + s, q - r) / 2 * self.shape.head_size**0.5
        self.phases.copy_(factor_HC.angle().flatten())
        self.gains.copy_(factor_HC.abs().flatten())

    @staticmethod
    def num_params(shape: Shape, phases: bool = True, gains: bool = True, **_: Any) -> int:
        return (phases + gains) * (shape.inner_size // 2)

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, **_: Any) -> int:
        return 2 * shape.inner_size * length * (memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, **_: Any) -> int:
        return (2 if path == "fused" else 4) * length * shape.inner_size


register(Mechanism("phased", SharedQueryKey, Phased, "unpublished", cross=False))
