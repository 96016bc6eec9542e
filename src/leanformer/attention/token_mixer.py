"""What every token mixer is: the step of a block that takes states from place to place, (x, mask) -> (B, L, D).

Multi-head attention is one (`layer.py`), with a mechanism in its slots. A mixer without heads (Fourier, linear, gMLP)
derives from `TokenMixer` itself, is built from a `Shape`, and has no mechanism.

What a class declares says where a model may have it. The declarations, and the counts, are all that configs, ledger,
decoders, exports and probes ask of a mixer: none of them tests its name.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from leanformer.attention.logits import Heads
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.plugins import reference, referenced
from leanformer.attention.positions import Positions
from leanformer.attention.shape import Shape
from leanformer.attention.some_queries import take


class TokenMixer(nn.Module):
    """The base class of mixers without a mechanism, and of `MultiHeadAttention`.

    `shape` gives width, longest text and biases; keyword-only arguments of a derived constructor are its options, whose
    values it keeps in `mixing`. A map whose values are added to the residual stream is called `output`, so that
    `model.zero_outputs` finds it.
    """

    paper: ClassVar[str] = ""
    attends: ClassVar[bool] = False
    """Whether it has heads with the model's mechanism in their slots."""
    any_mask: ClassVar[bool] = False
    """Whether it keeps to any mask of pairs of tokens. Decoders, packed documents and sliding windows need that. A
    class derived from one that does declares it again, for what it adds."""
    keeps_places: ClassVar[bool] = False
    """Whether queries and keys are those of tokens, which rotary positions may rotate, and whose relations a teacher
    may ask for."""
    group: ClassVar[str] = "positions"
    """The group in `leanformer mechanisms`: what of attention is shared, or learned at all; "" for no row there."""
    parameter_groups: ClassVar[Mapping[str, ParameterGroup]] = {}

    shape: Shape
    mixing: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.any_mask = bool(vars(cls).get("any_mask", False))

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.dropout, self.mixing = shape, dropout, {}

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
        """Returns what the block adds to its tokens, (B, L, D), by `mix`; ValueError for what a mixer without heads
        cannot do."""
        kind = type(self).__name__
        if memory is not None or causal or cache is not None:
            raise ValueError(f"{kind} mixes one whole sequence, to the left and to the right: an encoder's only")
        if return_weights:
            raise ValueError(f"{kind} has no attention weights: leave out output_attentions")
        self.check_length(x)
        return self.mix(x, mask)

    def mix(self, x_BLD: Tensor, mask: Tensor | None) -> Tensor:
        """The formula: (B, L, D). `mask` is boolean, True = a token, as `mixers.masks.tokens_of` reads it."""
        raise NotImplementedError

    def formula(self, x_LD: Tensor) -> Tensor:
        """What `mix` returns for one text of tokens, (L, D), computed in another way, for the contract
        (`mixer_testing`)."""
        raise NotImplementedError

    def at(
        self,
        places: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        cache: Callable[[Heads], Heads] | None = None,
    ) -> Tensor:
        """Returns what is added to the tokens at these places (B, N) alone, (B, N, D)."""
        return take(self(x, mask=mask, positions=positions, cache=cache), places)

    def __reduce__(self) -> tuple[Any, ...]:
        """A mixer is pickled with the plug-in that its class comes from, which another process loads first."""
        return _blank, reference(type(self)), self.__dict__

    def num_params(self) -> int:
        """The number of trainable parameters."""
        own = self.count_params(None, self.shape, {}, **self.mixing)
        return own + self.count_output_params(self.shape, **self.mixing)

    def flops(self, length: int, memory: int | None = None) -> int:
        """Forward FLOPs of one sequence, output map included."""
        own = self.count_flops(None, self.shape, {}, length, memory, **self.mixing)
        return own + self.count_output_flops(self.shape, length, **self.mixing)

    @classmethod
    def attention_shape(cls, whole: Shape, **mixing: Any) -> Shape:
        """Returns the shape of the heads that attend; ValueError for options that leave none."""
        return whole

    @classmethod
    def count_params(cls, mechanism: Any, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        """Returns the number of parameters of all but the output map, in closed form. `mechanism` is None without."""
        raise NotImplementedError

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
        """Forward, of one sequence and all but the output map: matrix products, two for a multiply-add."""
        raise NotImplementedError

    @classmethod
    def count_output_params(cls, whole: Shape, **mixing: Any) -> int:
        """Returns the number of parameters of the output map."""
        return 0

    @classmethod
    def count_output_flops(cls, whole: Shape, length: int, **mixing: Any) -> int:
        """Returns the forward FLOPs of the output map."""
        return 0

    @classmethod
    def count_unread_flops(
        cls, mechanism: Any, whole: Shape, options: Mapping[str, Any], length: int, read: int, **mixing: Any
    ) -> int:
        """Returns the forward FLOPs that `at` saves for `read` queries of a sequence, the output map's included."""
        return 0

    @classmethod
    def count_unlearned_flops(
        cls, mechanism: Any, whole: Shape, length: int, read: int | None = None, **mixing: Any
    ) -> int:
        """Returns the FLOPs by which the backward pass falls short of twice the forward pass, where `at` is asked for
        `read` queries, or all are computed."""
        return 0

    @classmethod
    def count_keys(cls, length: int, **mixing: Any) -> int:
        """Returns the number of keys that a query is scored against."""
        return 0

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.mixing.items())

    def check_length(self, *sequences: Tensor) -> None:
        for side in sequences:
            if side.shape[1] > self.shape.max_length:
                raise ValueError(
                    f"a sequence of {side.shape[1]} positions is longer than max_length = {self.shape.max_length}: "
                    "cut it, or build the layer for a longer one"
                )


def mixers_of(model: nn.Module) -> list[Any]:
    """Returns the mixers of a model, the lowest layer's first, whatever it is wrapped in; none that is part of
    another."""
    found = [module for module in model.modules() if isinstance(module, TokenMixer)]
    parts = {part for each in found for part in each.modules() if part is not each}
    return [each for each in found if each not in parts]


def _blank(module: str, name: str, plugin: Path | None) -> TokenMixer:
    kind = referenced(module, name, plugin)
    return kind.__new__(kind)
