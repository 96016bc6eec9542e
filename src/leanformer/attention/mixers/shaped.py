"""Shaped attention without value and output maps (He and Hofmann, 2023, "Simplifying Transformer Blocks", whose shaping
is that of Noci et al., 2023, "The Shaped Transformer").

    y_i,h = alpha_h x_i,h + beta_h sum_j softmax_j(logits_ij) x_j,h - gamma_h mean_j x_j,h      W_v = W_o = I

that is A <- alpha I + beta A - gamma C, where C is A at logits of zero: uniform over the tokens that a query may see,
so over the past in a decoder, and without padding. x_h is the h-th part of K channels. alpha, beta and gamma are
numbers per head, all start at one, and learn without weight decay. W_q starts at zero where it is a map of its own, so
that A - C is zero and the layer starts as the identity; a map that is query and key at once could not leave zero, and
starts as ever.

No matrix of L x L is made for I and C, so fused kernels stay. With `value_map` or `output_map` the map is there as in
plain attention, for comparisons. The paper keeps the value map of the first layer; here layers are alike.

The paper's block has no residual step around it (`model.block = "simplified"`). The identity is always a token's own:
what a mask hides of a token from itself matters to the softmax and to C alone.

Shape letters: B batch, L queries, M memory, H heads, K head size, D width, E = H K.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.attention.attend import with_causal
from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.logits import Heads, repeated
from leanformer.attention.projection import Projection
from leanformer.attention.registry import Mechanism, projection_name
from leanformer.attention.shape import Shape
from leanformer.attention.shared_rows import separated

FACTORS = ("alpha", "beta", "gamma")


class ShapedAttention(MultiHeadAttention):
    """The formula above: 3 H parameters more than the mechanism, and D E + b E fewer for each map that is left out; as
    many FLOPs as the mechanism's less 2 L D E for each.

    ValueError if a map is left out and E is not D, and for a value that shares its map with query or key, or is of
    fewer heads: such a value cannot be the input. Asked for weights, it gives those of the softmax.
    """

    paper = "He and Hofmann 2023"
    any_mask = True
    group = "projection"

    def __init__(
        self,
        mechanism: str,
        hidden_size: int,
        num_heads: int,
        max_length: int,
        bias: bool = True,
        dropout: float = 0.0,
        head_size: int | None = None,
        qk_norm: bool = False,
        *,
        value_map: bool = False,
        output_map: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(mechanism, hidden_size, num_heads, max_length, bias, dropout, head_size, qk_norm, **options)
        self.mixing = {"value_map": value_map, "output_map": output_map}
        if not (value_map and output_map) and self.shape.inner_size != hidden_size:
            raise ValueError(
                f"mixer 'shaped' cuts the input into heads, and {num_heads} heads of {self.shape.head_size} are not "
                f"hidden_size = {hidden_size}: leave out head_size, or keep both maps (value_map, output_map)"
            )
        if not value_map:
            self._leave_out_value()
        if not output_map:
            self.output: nn.Module = nn.Identity()  # type: ignore[assignment]
        parts = self.projection.parts
        if "query" in parts and parts["query"] not in (parts.get("key"), parts.get("value")):
            getattr(self.projection, parts["query"]).initial_scale = 0.0
        for name, value in self.initial_values().items():
            self.register_parameter(name, nn.Parameter(value))

    def initial_values(self) -> dict[str, Tensor]:
        return {name: torch.ones(self.shape.num_heads) for name in FACTORS}

    def combine(
        self, context_BHLK: Tensor, x: Tensor, heads: Heads, mask: Tensor | None, *, causal: bool = False
    ) -> Tensor:
        value_BHMK, length = repeated(heads.value, self.shape.num_heads), context_BHLK.shape[2]
        own_BHLK = value_BHMK[:, :, value_BHMK.shape[2] - length :]
        mean = mean_of_visible(value_BHMK, mask, length, causal=causal).to(context_BHLK.dtype)
        alpha, beta, gamma = (getattr(self, name).to(context_BHLK.dtype)[:, None, None] for name in FACTORS)
        shaped_BHLK = alpha * own_BHLK + beta * context_BHLK - gamma * mean
        return self.merge(shaped_BHLK, x, heads, mask)

    def _leave_out_value(self) -> None:
        name = _value_map(type(self.projection), self.shape, self.mechanism, self.options)
        delattr(self.projection, name)
        vars(self.projection)[name] = Input()  # not registered: what adapts maps by name would take it for one

    @classmethod
    def count_params(cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        left_out = 0 if mixing.get("value_map") else whole.linear_params
        return mechanism.num_params(whole, **options) - left_out + 3 * whole.num_heads

    @classmethod
    def count_flops(
        cls,
        mechanism: Mechanism,
        whole: Shape,
        options: Mapping[str, Any],
        length: int,
        memory: int | None = None,
        **mixing: Any,
    ) -> int:
        left_out = 0 if mixing.get("value_map") else whole.linear_flops(length)
        return mechanism.flops(whole, length, memory, **options) - left_out

    @classmethod
    def count_output_params(cls, whole: Shape, **mixing: Any) -> int:
        return whole.output_params if mixing.get("output_map") else 0

    @classmethod
    def count_output_flops(cls, whole: Shape, length: int, **mixing: Any) -> int:
        return whole.linear_flops(length) if mixing.get("output_map") else 0


class Input(nn.Module):
    """x in the type that a map would give."""

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def mean_of_visible(value_BHMK: Tensor, mask: Tensor | None, length: int, *, causal: bool = False) -> Tensor:
    """Returns sum_j C_ij v_j in float32 or better, broadcastable to (B, H, L, K); zeros for a query that sees nothing.

    Where the mask is one of tokens it is a sum, or with `causal` a running one; else a product with the mask.
    """
    exact = torch.float64 if value_BHMK.dtype == torch.float64 else torch.float32
    parts, memory = separated(mask), value_BHMK.shape[2]
    if parts is None or parts[0] is not None:
        assert mask is not None
        visible = with_causal(mask, length, memory, value_BHMK.device) if causal else mask
        visible = visible.to(exact)
        with torch.autocast(value_BHMK.device.type, enabled=False):
            return visible @ value_BHMK.to(exact) / visible.sum(-1, keepdim=True).clamp(min=1)
    if parts[1] is None:
        number = torch.ones(1, memory, dtype=exact, device=value_BHMK.device)
    else:
        number = parts[1].to(exact)
        value_BHMK = value_BHMK.masked_fill(~parts[1][:, None, :, None], 0.0)
    if not causal:
        total, number = value_BHMK.sum(2, keepdim=True, dtype=exact), number.sum(-1, keepdim=True)
    else:
        total = value_BHMK.cumsum(2, dtype=exact)[:, :, memory - length :]
        number = number.cumsum(-1)[:, memory - length :]
    return total / number[:, None, :, None].clamp(min=1)


def _value_map(projection: type[Projection], shape: Shape, mechanism: Mechanism, options: Mapping[str, Any]) -> str:
    """Returns the name of the value's map; ValueError unless it is that of the value alone, for all heads."""
    name, parts = projection.parts.get("value"), projection.parts
    alone = name is not None and name not in (parts.get("query"), parts.get("key"))
    if not alone or mechanism.kv_heads(shape, **options) != shape.num_heads:
        raise ValueError(
            f"mixer 'shaped' leaves out the value map, and projection = {projection_name(projection)!r} of "
            f"{mechanism.name} makes the value by a map of query or key, or for fewer heads: take another projection, "
            "or mixer_options.value_map = true"
        )
    assert name is not None
    return name
