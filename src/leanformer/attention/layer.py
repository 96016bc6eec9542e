"""Multi-head attention with a mechanism in its slots."""

from typing import Any

import torch
from torch import Tensor, nn

from leanformer.attention.logits import attend, attention_weights
from leanformer.attention.positions import Positions
from leanformer.attention.registry import mechanism as find
from leanformer.attention.shape import Shape


class MultiHeadAttention(nn.Module):
    """context = concat_h( attend(compatibility(heads), value)_h ) W_o + b_o,   heads = projection(x, memory).

    `x` (B, L, D) attends, `memory` (B, M, D) is attended, x itself if None. `mask` is boolean, True = may attend,
    broadcastable to (B, H, L, M). `positions` default to 0, 1, 2, ... without rotation. `bias` is that of all
    projections; further options are the mechanism's own.
    """

    projection: Any  # a projection's module has more than nn.Module: see `projections` and the mechanisms' files
    compatibility: Any

    def __init__(
        self,
        mechanism: str,
        hidden_size: int,
        num_heads: int,
        max_length: int,
        bias: bool = True,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.mechanism = find(mechanism)
        self.options = dict(options)
        self.shape = Shape(hidden_size, num_heads, max_length, bias)
        self.dropout = dropout
        self.fused = True
        self.projection, self.compatibility = self.mechanism.build(self.shape, **options)
        self.output = nn.Linear(hidden_size, hidden_size, bias=bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        *,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        memory = x if memory is None else memory
        self._check_lengths(x, memory)
        if positions is None:
            query = torch.arange(x.shape[1], device=x.device)[None]
            positions = Positions.of(
                query, None if memory is x else torch.arange(memory.shape[1], device=x.device)[None]
            )
        heads = self.projection(x, memory)
        logits = self.compatibility(heads, x, memory, positions)
        dropout = self.dropout if self.training else 0.0
        if return_weights:
            weights_BHLM = attention_weights(logits, mask, dropout)
            return self._merge(weights_BHLM @ heads.value), weights_BHLM
        return self._merge(attend(logits, heads.value, mask, dropout, fused=self.fused))

    def num_params(self) -> int:
        return self.mechanism.num_params(self.shape, **self.options) + self.shape.linear_params

    def flops(self, length: int, memory: int | None = None) -> int:
        """Forward FLOPs of one sequence, output projection included."""
        return self.mechanism.flops(self.shape, length, memory, **self.options) + self.shape.linear_flops(length)

    def extra_repr(self) -> str:
        return ", ".join([self.mechanism.name, *(f"{k}={v!r}" for k, v in self.options.items())])

    def _merge(self, context_BHLK: Tensor) -> Tensor:
        return self.output(context_BHLK.transpose(1, 2).flatten(-2))

    def _check_lengths(self, x: Tensor, memory: Tensor) -> None:
        if memory is not x and not self.mechanism.cross:
            raise ValueError(f"{self.mechanism.name} ties positions of one sequence and cannot attend to another")
        for side in (x, memory):
            if side.shape[1] > self.shape.max_length:
                raise ValueError(
                    f"a sequence of {side.shape[1]} positions is longer than max_length = {self.shape.max_length}: "
                    "cut it, or build the layer for a longer one"
                )
