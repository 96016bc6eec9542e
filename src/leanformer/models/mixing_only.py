"""A block that is its mixer alone, without a feed-forward layer, as gMLP's is (Liu et al., 2021).

pre:  x <- x + dropout(mixer(norm(x))),    post:  x <- norm(x + dropout(mixer(x)))
"""

from functools import partial
from typing import ClassVar

from torch import Tensor

from leanformer.attention import Positions
from leanformer.models.blocks import Block, register_block
from leanformer.models.config import LeanformerConfig


class MixingOnly(Block):
    """One residual step and one norm."""

    norms: ClassVar[int] = 1
    feed_forwards: ClassVar[int] = 0

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        del self.feed_forward, self.feed_forward_norm

    def forward(  # type: ignore[override]
        self, x_BLD: Tensor, mask: Tensor | None, positions: Positions, return_weights: bool = False
    ) -> Tensor:
        mix = partial(self.attention, mask=mask, positions=positions, return_weights=return_weights)
        return self.add(x_BLD, self.attention_norm, mix)


register_block("mixing_only", MixingOnly)
