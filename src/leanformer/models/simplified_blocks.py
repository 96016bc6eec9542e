"""Blocks without the residual step around attention (He and Hofmann, 2023, "Simplifying Transformer Blocks").

    simplified (SAS)               x <- A(norm(x));    x <- x + dropout(g F(norm(x)))
    simplified_parallel (SAS-P)    n = norm(x);        x <- A(n) + dropout(g F(n))

A is the mixer `shaped`, which starts as the identity where the mechanism has a query map of its own, F the feed-forward
layer, and g one number that learns. The parallel block has no residual step at all, and one norm. g starts at 0.1, the
paper's for 18 layers. Attention's output has no dropout, since nothing goes around it.

Shape letters: B batch, L length, D model width.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from leanformer.attention import Positions
from leanformer.models.blocks import Block, register_block
from leanformer.models.config import LeanformerConfig

GAIN = 0.1


class Simplified(Block):
    """SAS: a block's parameters are those of its mixer, its feed-forward layer and two norms, and 1 more."""

    norm_kinds: ClassVar[tuple[str, ...]] = ("pre",)
    mixers: ClassVar[tuple[str, ...]] = ("shaped",)
    residual: ClassVar[bool] = False

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.feed_forward_gain = nn.Parameter(self.initial_values()["feed_forward_gain"])

    def initial_values(self) -> dict[str, Tensor]:
        return {"feed_forward_gain": torch.full((), GAIN)}

    def forward(  # type: ignore[override]
        self, x_BLD: Tensor, mask: Tensor | None, positions: Positions, return_weights: bool = False
    ) -> Tensor:
        x_BLD = self.mixed(self.attention_norm(x_BLD), mask, positions, return_weights)
        return x_BLD + self.fed_forward(self.feed_forward_norm(x_BLD))

    def mixed(self, x_BLD: Tensor, mask: Tensor | None, positions: Positions, return_weights: bool) -> Tensor:
        context = self.attention(x_BLD, mask=mask, positions=positions, return_weights=return_weights)
        return context[0] if return_weights else context

    def fed_forward(self, x_BLD: Tensor) -> Tensor:
        return self.dropout(self.feed_forward_gain * self.feed_forward(x_BLD))

    @classmethod
    def count_params(cls, config: LeanformerConfig) -> int:
        return 1


class SimplifiedParallel(Simplified):
    """SAS-P: one norm fewer."""

    norms: ClassVar[int] = 1

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        del self.feed_forward_norm

    def forward(  # type: ignore[override]
        self, x_BLD: Tensor, mask: Tensor | None, positions: Positions, return_weights: bool = False
    ) -> Tensor:
        x_BLD = self.attention_norm(x_BLD)
        return self.mixed(x_BLD, mask, positions, return_weights) + self.fed_forward(x_BLD)


register_block("simplified", Simplified)
register_block("simplified_parallel", SimplifiedParallel)
