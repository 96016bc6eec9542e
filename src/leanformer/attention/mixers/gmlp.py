"""gMLP: a gate over places (Liu, Dai, So and Le, 2021, "Pay Attention to MLPs", NeurIPS).

    z  = gelu(x W_1 + b_1), split in halves z1, z2 of F / 2 channels each
    y  = (z1 * (W_n norm(z2) + b)) W_2 + b_2          W (N, N) over places, b (N,) one number per place

and with `tiny_attention` = K (the paper's aMLP) the context of one head of size K, mapped to F / 2 channels, is added
to the gate, W_n norm(z2) + b + attention(x). W starts near zero and b at one, so a layer starts as a feed-forward
layer. With `toeplitz`, the paper's form for text, W[i, j] = w[j - i] has 2 N - 1 numbers instead of N^2. W_n is the
upper left part of W, for a text of n places counted from the start of the row.

Padding. The paper has no mask. Here padding counts as zeros behind the norm, so that the tokens before it get what they
get alone. Padding on the left moves a text to other entries of b, and of W unless it is Toeplitz.

The paper's layer is this step alone, with F = 6 D and no feed-forward layer behind it: `model.block = "mixing_only"`
with `model.norm = "pre"`. In the usual block a feed-forward layer follows, and F = 2 D by default.

Shape letters: B batch, L length, N longest, D width, F inner width.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.mixers.masks import without_padding
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.projection import affine
from leanformer.attention.registry import mechanism as find
from leanformer.attention.shape import Shape
from leanformer.attention.token_mixer import TokenMixer

INIT_STD = 1e-3
"""Standard deviation from which W starts: near zero."""


class GatedMLP(TokenMixer):
    """The formula above. With b = 1 with biases, else 0, T = 2 N - 1 or N^2, it has

        D F + b F + (1 + b) F / 2 + T + N + D F / 2 + b D    parameters
        2 L D F + L^2 F + L D F                              FLOPs

    and with `tiny_attention` those of one head of `tiny_mechanism` and of its map to F / 2 channels. `inner_size` is F,
    2 D if not given. ValueError for an odd F, and for a tiny head that is none.
    """

    paper = "Liu et al. 2021"
    parameter_groups = {"place_maps": ParameterGroup(("places", "place_bias"))}
    places: nn.Parameter
    place_bias: nn.Parameter

    def __init__(
        self,
        shape: Shape,
        dropout: float = 0.0,
        *,
        inner_size: int | None = None,
        toeplitz: bool = True,
        tiny_attention: int = 0,
        tiny_mechanism: str = "dot_product",
    ) -> None:
        super().__init__(shape, dropout)
        inner = _inner(shape, inner_size)
        self.mixing = {"inner_size": inner_size, "toeplitz": toeplitz}
        self.mixing |= {"tiny_attention": tiny_attention, "tiny_mechanism": tiny_mechanism}
        self.up = nn.Linear(shape.hidden_size, inner, bias=shape.bias)
        self.gate_norm = nn.LayerNorm(inner // 2, bias=shape.bias)
        for name, value in self.initial_values().items():
            self.register_parameter(name, nn.Parameter(value))
        self.attention: MultiHeadAttention | None = None
        if tiny_attention:
            head = self.attention_shape(shape, tiny_attention=tiny_attention)
            if find(tiny_mechanism).rotary:
                raise ValueError(f"tiny_mechanism = {tiny_mechanism!r} needs rotary positions, which gmlp has not")
            self.attention = MultiHeadAttention(
                tiny_mechanism,
                shape.hidden_size,
                1,
                shape.max_length,
                shape.bias,
                dropout,
                head_size=head.head_size,
                qk_norm=shape.qk_norm,
            )
            self.attention.output = nn.Linear(tiny_attention, inner // 2, bias=shape.bias)
        self.output = nn.Linear(inner // 2, shape.hidden_size, bias=shape.bias)

    def initial_values(self) -> dict[str, Tensor]:
        longest = self.shape.max_length
        size = (2 * longest - 1,) if self.mixing["toeplitz"] else (longest, longest)
        return {"places": torch.randn(size) * INIT_STD, "place_bias": torch.ones(longest)}

    def place_matrix(self, length: int) -> Tensor:
        """W_n, (L, L)."""
        if not self.mixing["toeplitz"]:
            return self.places[:length, :length]
        place = torch.arange(length, device=self.places.device)
        return self.places[place - place[:, None] + self.shape.max_length - 1]

    def mix(self, x_BLD: Tensor, mask: Tensor | None) -> Tensor:
        length = x_BLD.shape[1]
        kept_BLF, gating_BLF = F.gelu(self.up(x_BLD)).chunk(2, dim=-1)
        gating_BLF = without_padding(self.gate_norm(gating_BLF), mask)
        places_LL, bias_L1 = self.place_matrix(length), self.place_bias[:length, None]
        gate_BLF = places_LL.to(gating_BLF.dtype) @ gating_BLF + bias_L1.to(gating_BLF.dtype)
        if self.attention is not None:
            gate_BLF = gate_BLF + self.attention(x_BLD, mask=mask)
        return self.output(kept_BLF * gate_BLF)

    def formula(self, x_LD: Tensor) -> Tensor:
        length, longest = len(x_LD), self.shape.max_length
        kept, gating = zip(*(F.gelu(affine(self.up, x)).chunk(2) for x in x_LD), strict=True)
        normed = [
            (z - z.mean()) / (z.var(correction=0) + self.gate_norm.eps).sqrt() * self.gate_norm.weight for z in gating
        ]
        normed = normed if self.gate_norm.bias is None else [z + self.gate_norm.bias for z in normed]
        seen = torch.zeros(length, len(normed[0]), dtype=x_LD.dtype)
        if self.attention is not None:
            seen = self.attention(x_LD[None], return_weights=True)[0][0]
        rows = []
        for i in range(length):
            row = self.places[longest - 1 - i :] if self.mixing["toeplitz"] else self.places[i]
            gate = sum(row[j] * normed[j] for j in range(length)) + self.place_bias[i] + seen[i]
            rows.append(affine(self.output, kept[i] * gate))
        return torch.stack(rows)

    @classmethod
    def attention_shape(cls, whole: Shape, **mixing: Any) -> Shape:
        size = mixing.get("tiny_attention", 0)
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError(f"tiny_attention = {size!r}: the size of one head, a whole number; 0 for none")
        return replace(whole, num_heads=1, head_size=size) if size else whole

    @classmethod
    def count_params(cls, mechanism: Any, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        inner, bias, longest = _inner(whole, mixing.get("inner_size")), int(whole.bias), whole.max_length
        places = 2 * longest - 1 if mixing.get("toeplitz", True) else longest**2
        own = (whole.hidden_size + bias) * inner + (1 + bias) * inner // 2 + places + longest
        if tiny := mixing.get("tiny_attention", 0):
            head = cls.attention_shape(whole, **mixing)
            own += find(mixing.get("tiny_mechanism", "dot_product")).num_params(head) + (tiny + bias) * inner // 2
        return own

    @classmethod
    def count_flops(
        cls,
        mechanism: Any,
        whole: Shape,
        options: Mapping[str, Any],
        length: int,
        memory: int | None = None,
        **mixing: Any,
    ) -> int:
        inner = _inner(whole, mixing.get("inner_size"))
        own = 2 * length * whole.hidden_size * inner + length**2 * inner
        if tiny := mixing.get("tiny_attention", 0):
            head = cls.attention_shape(whole, **mixing)
            own += find(mixing.get("tiny_mechanism", "dot_product")).flops(head, length) + length * tiny * inner
        return own

    @classmethod
    def count_output_params(cls, whole: Shape, **mixing: Any) -> int:
        return whole.hidden_size * (_inner(whole, mixing.get("inner_size")) // 2 + whole.bias)

    @classmethod
    def count_output_flops(cls, whole: Shape, length: int, **mixing: Any) -> int:
        return length * whole.hidden_size * _inner(whole, mixing.get("inner_size"))

    @classmethod
    def count_unlearned_flops(
        cls, mechanism: Any, whole: Shape, length: int, read: int | None = None, **mixing: Any
    ) -> int:
        if not (tiny := mixing.get("tiny_attention", 0)):
            return 0
        return 0 if find(mixing.get("tiny_mechanism", "dot_product")).learns else 2 * tiny * length**2

    @classmethod
    def count_keys(cls, length: int, **mixing: Any) -> int:
        return length if mixing.get("tiny_attention", 0) else 0


def _inner(shape: Shape, inner_size: int | None) -> int:
    """F; ValueError unless it has two halves."""
    inner = 2 * shape.hidden_size if inner_size is None else inner_size
    if not isinstance(inner, int) or inner < 2 or inner % 2:
        raise ValueError(f"inner_size = {inner!r}: an even number, since one half gates the other")
    return inner
