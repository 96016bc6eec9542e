"""Multi-head attention with a mechanism in its slots."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from leanformer.attention.attend import Path as AttendPath
from leanformer.attention.attend import attend, attention_weights, choose_path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits, repeated
from leanformer.attention.plugins import reference, referenced
from leanformer.attention.positions import Positions
from leanformer.attention.registry import Mechanism, names
from leanformer.attention.registry import mechanism as find
from leanformer.attention.shape import Shape
from leanformer.attention.shared_rows import separated, shared_rows, shared_weights
from leanformer.attention.some_queries import mask_at, take
from leanformer.attention.token_mixer import TokenMixer


class MultiHeadAttention(TokenMixer):
    """context = concat_h( attend(compatibility(heads), value)_h ) W_o + b_o,   heads = projection(x, memory).

    `x` (B, L, D) attends, `memory` (B, M, D) is attended, x itself if None. `mask` is boolean, True = may attend,
    broadcastable to (B, H, L, M); `causal` hides the future besides. `positions` default to 0, 1, 2, ... without
    rotation. `bias` is that of all projections, `head_size` is D / `num_heads` if None, `qk_norm` norms the queries and
    keys of those mechanisms that have them (see `head_norm`); further options are the mechanism's own.

    `cache` is given the heads of x, as compact as the projection makes them, and returns those of all earlier tokens
    and these: so a decoder projects a token once. `path` says which way the last context took (see `attend`).

    It is a token mixer, and the base of the others with heads (`mixers`), which have options of their own: `mixing`.
    `shape` is that of the heads that attend, `whole` that of the layer.
    """

    paper = "Vaswani et al. 2017"
    attends = True
    group = ""
    any_mask = True
    keeps_places = True  # what is attended has positions, so that keys may be rotated

    projection: Any  # a `Projection`; Any, since what a mixer or a test asks of it may be a subclass's own
    compatibility: Compatibility

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
        super().__init__(Shape(hidden_size, num_heads, max_length, bias, head_size or 0, qk_norm), dropout)
        self.mechanism = find(mechanism)
        self.options = dict(options)
        self.fused = True
        self.path: AttendPath | None = None
        self.projection, self.compatibility = self.mechanism.build(self.shape, **options)
        self.output = nn.Linear(self.shape.inner_size, hidden_size, bias=bias)
        self.whole = self.shape
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
        heads = self._project(x, memory, cache)
        if positions is None:
            length, total = x.shape[1], heads.value.shape[2]
            start = total - length if memory is x else 0
            positions = Positions.counted(length, total, x.device, start=start)
        if return_weights:
            logits = self.compatibility(heads, x, memory, positions)
            dropout = self.dropout if self.training else 0.0
            weights_BHLM = attention_weights(logits, mask, dropout, causal=causal)
            weights_BHLM = weights_BHLM.expand(len(x), self.shape.num_heads, -1, -1)
            weighted_BHLK = weights_BHLM @ repeated(heads.value, self.shape.num_heads)
            return self.combine(weighted_BHLK, x, heads, mask, causal=causal), weights_BHLM
        context_BHLK = self._kept_rows(heads, x, positions, mask, causal)
        if context_BHLK is None:
            context_BHLK = self._attend(self.compatibility(heads, x, memory, positions), heads, mask, causal=causal)
        return self.combine(context_BHLK, x, heads, mask, causal=causal)

    def at(
        self,
        places: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        cache: Callable[[Heads], Heads] | None = None,
    ) -> Tensor:
        """Returns the context of the queries at these places (B, N) of x alone, (B, N, D).

        No others are computed where `serves_some` holds. Otherwise the context of all is, since a mixer of other
        `forward`, `merge` or `combine` may read a query's neighbours; one that knows what it reads overrides this
        method.
        """
        if not self.serves_some(self.mechanism):
            return take(self(x, mask=mask, positions=positions, cache=cache), places)
        context_BHNK, heads = self.context_at(places, x, mask, positions, cache)
        return self.merge(context_BHNK, take(x, places), heads, mask)

    def context_at(
        self,
        places: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        cache: Callable[[Heads], Heads] | None = None,
    ) -> tuple[Tensor, Heads]:
        """Returns what the heads fetch for the queries at these places of x, (B, H, N, K), and the heads."""
        positions = Positions.counted(x.shape[1], x.shape[1], x.device) if positions is None else positions
        some = take(x, places)
        heads = self._project(some, x, cache)
        logits = self.compatibility(heads, some, x, positions.at(places))
        return self._attend(logits, heads, mask_at(mask, places)), heads

    @classmethod
    def serves_some(cls, mechanism: Mechanism) -> bool:
        """Whether `at` computes the queries that it is asked for alone."""
        slots = (cls.forward, cls.merge, cls.combine)
        plain = slots == (MultiHeadAttention.forward, MultiHeadAttention.merge, MultiHeadAttention.combine)
        return plain and mechanism.any_queries

    def __reduce__(self) -> tuple[Any, ...]:
        """Layer and mechanism are read first when a layer is unpickled: they bring the plug-ins of the modules."""
        return _blank, (*reference(type(self)), self.mechanism), self.__dict__ | {"_rows": None}

    def train(self, mode: bool = True) -> Self:
        self._rows = None
        return super().train(mode)

    def num_params(self) -> int:
        """The number of trainable parameters; a frozen table is a buffer."""
        return self.count_params(self.mechanism, self.whole, self.options, **self.mixing) + self.count_output_params(
            self.whole, **self.mixing
        )

    def flops(self, length: int, memory: int | None = None) -> int:
        """Forward FLOPs of one sequence, output projection included."""
        own = self.count_flops(self.mechanism, self.whole, self.options, length, memory, **self.mixing)
        return own + self.count_output_flops(self.whole, length, **self.mixing)

    @classmethod
    def count_params(cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        """Returns the number of parameters of all but the output map, in closed form."""
        return mechanism.num_params(whole, **options)

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
        """Forward, of one sequence and all but the output map."""
        return mechanism.flops(whole, length, memory, **options)

    @classmethod
    def count_output_params(cls, whole: Shape, **mixing: Any) -> int:
        return whole.output_params

    @classmethod
    def count_output_flops(cls, whole: Shape, length: int, **mixing: Any) -> int:
        return whole.linear_flops(length)

    @classmethod
    def count_unread_flops(
        cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], length: int, read: int, **mixing: Any
    ) -> int:
        """Returns the forward FLOPs that `at` saves for `read` queries of a sequence, the output map's included."""
        if not cls.serves_some(mechanism):
            return 0
        saved = mechanism.flops(whole, length, **options) - mechanism.flops(whole, read, length, **options)
        return saved + whole.linear_flops(length - read)

    @classmethod
    def count_unlearned_flops(
        cls, mechanism: Mechanism, whole: Shape, length: int, read: int | None = None, **mixing: Any
    ) -> int:
        """Returns the FLOPs by which the backward pass falls short of twice the forward pass, where `at` is asked for
        `read` queries, or all are computed."""
        queries = length if read is None or not cls.serves_some(mechanism) else read
        return 0 if mechanism.learns else 2 * whole.inner_size * queries * length

    @classmethod
    def count_keys(cls, length: int, **mixing: Any) -> int:
        return length

    def extra_repr(self) -> str:
        return ", ".join([self.mechanism.name, *(f"{k}={v!r}" for k, v in self.options.items())])

    def combine(
        self, context_BHLK: Tensor, x: Tensor, heads: Heads, mask: Tensor | None, *, causal: bool = False
    ) -> Tensor:
        """Returns what `merge` does; for a mixer that must also be told whether the future is hidden."""
        return self.merge(context_BHLK, x, heads, mask)

    def merge(self, context_BHLK: Tensor, x: Tensor, heads: Heads, mask: Tensor | None) -> Tensor:
        """Returns what the layer adds to its tokens, (B, L, D); the slot behind the softmax, which mixers override."""
        return self.output(context_BHLK.transpose(1, 2).flatten(-2))

    def _project(self, x: Tensor, memory: Tensor, cache: Callable[[Heads], Heads] | None) -> Heads:
        self.check_length(x, memory)
        if cache is None:
            new: Heads = self.projection(x, memory)
            return new
        heads: Heads = self.projection.expand(cache(self.projection.compact(x, memory)))
        self.check_length(heads.value.transpose(1, 2))
        return heads

    def _attend(self, logits: Logits, heads: Heads, mask: Tensor | None, causal: bool = False) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if not torch.compiler.is_compiling():
            self.path = choose_path(logits, heads.value, mask, dropout, fused=self.fused)
        return attend(logits, heads.value, mask, dropout, causal=causal, fused=self.fused)

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
        if not self.fused or positions.start is None or self.compatibility.uses_input:
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


def _blank(module: str, name: str, plugin: Path | None, mechanism: Mechanism) -> MultiHeadAttention:
    kind = referenced(module, name, plugin)
    return kind.__new__(kind)
