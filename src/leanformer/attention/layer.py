"""Multi-head attention with a mechanism in its slots."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from leanformer.attention.attend import Path, attend, attention_weights, choose_path
from leanformer.attention.logits import Heads
from leanformer.attention.positions import Positions
from leanformer.attention.registry import mechanism as find
from leanformer.attention.registry import names
from leanformer.attention.shape import Shape
from leanformer.attention.shared_rows import separated, shared_rows, shared_weights


class MultiHeadAttention(nn.Module):
    """context = concat_h( attend(compatibility(heads), value)_h ) W_o + b_o,   heads = projection(x, memory).

    `x` (B, L, D) attends, `memory` (B, M, D) is attended, x itself if None. `mask` is boolean, True = may attend,
    broadcastable to (B, H, L, M); `causal` hides the future besides. `positions` default to 0, 1, 2, ... without
    rotation. `bias` is that of all projections, `head_size` is D / `num_heads` if None, `qk_norm` norms the queries and
    keys of those mechanisms that have them (see `head_norm`); further options are the mechanism's own.

    `cache` is given the heads of x and returns those to attend to, all earlier ones and these: so a decoder projects a
    token once. `path` says which way the last context took (see `attend`).
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
        head_size: int | None = None,
        qk_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.mechanism = find(mechanism)
        self.options = dict(options)
        self.shape = Shape(hidden_size, num_heads, max_length, bias, head_size or 0, qk_norm)
        self.dropout = dropout
        self.fused = True
        self.path: Path | None = None
        self.projection, self.compatibility = self.mechanism.build(self.shape, **options)
        self.output = nn.Linear(self.shape.inner_size, hidden_size, bias=bias)
        self._rows: tuple[Any, Tensor] | None = None

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        *,
        causal: bool = False,
        cache: Callable[[Heads], Heads] | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if memory is not None and not self.mechanism.cross:
            raise ValueError(
                f"{self.mechanism.name} ties positions of one sequence and cannot attend to another; "
                f"these can: {', '.join(name for name in names() if find(name).cross)}"
            )
        memory = x if memory is None else memory
        self._check_length(x, memory)
        heads = self.projection(x, memory)
        if cache is not None:
            heads = cache(heads)
            self._check_length(heads.value.transpose(1, 2))
        if positions is None:
            length, total = x.shape[1], heads.value.shape[2]
            start = total - length if memory is x else 0
            positions = Positions.counted(length, total, x.device, start=start)
        dropout = self.dropout if self.training else 0.0
        if return_weights:
            logits = self.compatibility(heads, x, memory, positions)
            weights_BHLM = attention_weights(logits, mask, dropout, causal=causal)
            weights_BHLM = weights_BHLM.expand(len(x), self.shape.num_heads, -1, -1)
            return self._merge(weights_BHLM @ heads.value), weights_BHLM
        kept = self._kept_rows(heads, x, positions, mask, causal)
        if kept is not None:
            return self._merge(kept)
        logits = self.compatibility(heads, x, memory, positions)
        if not torch.compiler.is_compiling():
            self.path = choose_path(logits, heads.value, mask, dropout, fused=self.fused)
        return self._merge(attend(logits, heads.value, mask, dropout, causal=causal, fused=self.fused))

    def train(self, mode: bool = True) -> Self:
        self._rows = None
        return super().train(mode)

    def num_params(self) -> int:
        """Those that learn: a frozen table is a buffer."""
        return self.mechanism.num_params(self.shape, **self.options) + self.shape.output_params

    def flops(self, length: int, memory: int | None = None) -> int:
        """Forward FLOPs of one sequence, output projection included."""
        return self.mechanism.flops(self.shape, length, memory, **self.options) + self.shape.linear_flops(length)

    def extra_repr(self) -> str:
        return ", ".join([self.mechanism.name, *(f"{k}={v!r}" for k, v in self.options.items())])

    def _merge(self, context_BHLK: Tensor) -> Tensor:
        return self.output(context_BHLK.transpose(1, 2).flatten(-2))

    def _check_length(self, *sequences: Tensor) -> None:
        for side in sequences:
            if side.shape[1] > self.shape.max_length:
                raise ValueError(
                    f"a sequence of {side.shape[1]} positions is longer than max_length = {self.shape.max_length}: "
                    "cut it, or build the layer for a longer one"
                )

    def _kept_rows(
        self, heads: Heads, x: Tensor, positions: Positions, mask: Tensor | None, causal: bool
    ) -> Tensor | None:
        """Evaluated, a table makes the same weights every time: they are kept until a parameter or the length changes.

        The context (B, H, L, K), or None where this does not hold. torch's fused optimizers change parameters without
        a word (their `_version` stays): what may be a step of training, and every `train` or `eval`, forgets the rows.
        """
        if torch.compiler.is_compiling():
            return None
        if self.training or torch.is_grad_enabled():
            self._rows = None
            return None
        if not self.fused or positions.start is None or getattr(self.compatibility, "uses_input", True):
            return None
        parts = separated(mask)
        if parts is None or parts[0] is not None:
            return None
        state = [*self.compatibility.parameters(), *self.compatibility.buffers()]
        if any(tensor.is_inference() for tensor in state):  # these do not say when they change
            return None
        made_of = tuple((tensor.data_ptr(), tensor.dtype, tensor._version) for tensor in state)
        key = (positions.start, x.shape[1], heads.value.shape[2], causal, made_of)
        if self._rows is None or self._rows[0] != key:
            scores_HLM = self.compatibility(heads, x, x, positions).bias[0]
            self._rows = key, shared_weights(scores_HLM, causal=causal)
        self.path = "shared_rows"
        return shared_rows(self._rows[1], heads.value, parts[1])
