"""Blocks without the residual step around attention (He and Hofmann, 2023, "Simplifying Transformer Blocks").

    simplified (SAS)               x <- A(norm(x));    x <- x + dropout(g F(norm(x)))
    simplified_parallel (SAS-P)    n = norm(x);        x <- A(n) + dropout(g F(n))

A is the mixer `shaped`, which starts as the identity where the mechanism has a query map of its own, F the feed-forward
layer, and g one number that learns. The parallel block has no residual step at all, and one norm. g starts at 0.1, the
paper's for 18 layers. Attention's output has no dropout, since nothing goes around it.

Encoders and language models have these blocks; an encoder-decoder has not.

Shape letters: B batch, L length, D model width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from leanformer.attention import Positions
from leanformer.models.block_types import DECODER_BLOCKS
from leanformer.models.blocks import Block, DecoderBlock, register_block
from leanformer.models.config import LeanformerConfig

GAIN = 0.1


class SimplifiedSteps:
    """The two steps of SAS, to stand before the block of an encoder or of a decoder, whose parts it uses; 1 parameter,
    g."""

    attention_norm: Any
    feed_forward: Any
    feed_forward_norm: Any
    dropout: Any

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)  # type: ignore[call-arg]  # that of the block behind it
        self.feed_forward_gain = nn.Parameter(self.initial_values()["feed_forward_gain"])

    def initial_values(self) -> dict[str, Tensor]:
        return {"feed_forward_gain": torch.full((), GAIN)}

    def mixed(self, x_BLD: Tensor, attend: Callable[[Tensor], Any]) -> Tensor:
        context = attend(self.attention_norm(x_BLD))
        return context[0] if isinstance(context, tuple) else context

    def fed_forward(self, x_BLD: Tensor) -> Tensor:
        return x_BLD + self.gained(self.feed_forward_norm(x_BLD))

    def gained(self, x_BLD: Tensor) -> Tensor:
        return self.dropout(self.feed_forward_gain * self.feed_forward(x_BLD))


class ParallelSteps(SimplifiedSteps):
    """The step of SAS-P: one norm fewer."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        del self.feed_forward_norm

    def mixed(self, x_BLD: Tensor, attend: Callable[[Tensor], Any]) -> Tensor:
        x_BLD = self.attention_norm(x_BLD)
        context = attend(x_BLD)
        return (context[0] if isinstance(context, tuple) else context) + self.gained(x_BLD)

    def fed_forward(self, x_BLD: Tensor) -> Tensor:
        return x_BLD


class Simplified(SimplifiedSteps, Block):
    """SAS in an encoder."""

    norm_kinds: ClassVar[tuple[str, ...]] = ("pre",)
    mixers: ClassVar[tuple[str, ...]] = ("shaped",)
    residual: ClassVar[bool] = False

    def forward(  # type: ignore[override]
        self, x_BLD: Tensor, mask: Tensor | None, positions: Positions, return_weights: bool = False
    ) -> Tensor:
        attend = partial(self.attention, mask=mask, positions=positions, return_weights=return_weights)
        return self.fed_forward(self.mixed(x_BLD, attend))

    @classmethod
    def count_params(cls, config: LeanformerConfig) -> int:
        return 1


class SimplifiedParallel(ParallelSteps, Simplified):
    """SAS-P in an encoder."""

    norms: ClassVar[int] = 1


class SimplifiedDecoder(SimplifiedSteps, DecoderBlock):
    """SAS in a language model."""


class SimplifiedParallelDecoder(ParallelSteps, DecoderBlock):
    """SAS-P in a language model."""


register_block("simplified", Simplified)
register_block("simplified_parallel", SimplifiedParallel)
DECODER_BLOCKS |= {"simplified": SimplifiedDecoder, "simplified_parallel": SimplifiedParallelDecoder}
