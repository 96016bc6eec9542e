"""What one attention layer made of its input, seen from outside: its heads, and the scores they were compared by.

Hooks on the layer and its projection, for the time of a `with` block; attention itself knows nothing of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from leanformer.attention import Heads, MultiHeadAttention, Positions, mixers_of
from leanformer.attention.logits import repeated


class Watched:
    """The layer's last forward pass."""

    x_BLD: Tensor
    heads: Heads  # as many keys and values as queries, those that several heads read repeated
    positions: Positions

    def __init__(self, layer: MultiHeadAttention) -> None:
        self.layer = layer

    def scores(self) -> Tensor:
        """What the softmax of the layer is taken of, unmasked; broadcastable to (B, H, L, L).

        Compared once more: a layer in evaluation may have kept its weights from the batch before.
        """
        return self.layer.compatibility(self.heads, self.x_BLD, self.x_BLD, self.positions).dense()


@contextmanager
def watched(layer: MultiHeadAttention) -> Iterator[Watched]:
    if not layer.keeps_places:
        raise ValueError(
            f"relations of tokens need attention to tokens: {type(layer).__name__} attends to something else"
        )
    seen = Watched(layer)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.x_BLD, seen.positions = args[0], kwargs["positions"]

    def projected(module: nn.Module, args: tuple[Any, ...], heads: Heads) -> None:
        value = repeated(heads.value, layer.shape.num_heads)
        key = None if heads.key is None else repeated(heads.key, layer.shape.num_heads)
        seen.heads = Heads(value, heads.query, value if heads.key is heads.value else key)

    hooks = [
        layer.register_forward_pre_hook(before, with_kwargs=True),
        layer.projection.register_forward_hook(projected),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def attention_layers(model: nn.Module) -> list[MultiHeadAttention]:
    """Returns an encoder's layers of attention, the lowest first, whatever it is wrapped in, or its other mixers, which
    `watched` refuses."""
    return mixers_of(model)
