"""The sizes among which a plan chooses, and a recipe's [model] at one of them.

Heads keep the recipe's size, and the feed-forward layers keep its ratio to the width, in multiples of 8.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from leanformer.models import LeanformerConfig

LADDER = ((2, 128), (4, 192), (4, 256), (6, 320), (8, 384), (12, 512), (12, 768))
"""Layers and width, each with about twice as many parameters as the one before."""
SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
"""The settings of [model] that a size gives."""


def at_size(model: Mapping[str, Any], layers: int, width: int) -> dict[str, Any]:
    """Returns the recipe's [model] with so many layers of this width."""
    default = LeanformerConfig()
    before = model.get("hidden_size", default.hidden_size)
    head = before // model.get("num_attention_heads", default.num_attention_heads)
    inner = model.get("intermediate_size", default.intermediate_size)
    sizes = (layers, width, max(1, width // head), ceil(inner * width / before / 8) * 8)
    return {**model, **dict(zip(SIZES, sizes, strict=True))}
