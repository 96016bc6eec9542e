"""Model sizes by name: depth x width of Google's BERTs (Turc et al., 2019), heads of 64, feed-forward 4 x width."""

from collections.abc import Mapping
from typing import Any

from leanformer.models import LeanformerConfig
from leanformer.spelling import suggest

SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
GIVEN = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
"""The settings of [model] that a size gives."""


def size(name: str) -> dict[str, int]:
    """Returns the settings of [model] of the size `name`."""
    if name not in SIZES:
        raise ValueError(f"size {name!r}: {suggest(name, SIZES)}")
    layers, width = SIZES[name]
    return dict(zip(GIVEN, (width, layers, width // 64, 4 * width), strict=True))


def of_size(model: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Returns a recipe's [model] at other sizes; the ratio of feed-forward size and width stays."""
    scaled = {key: value for key, value in model.items() if key not in GIVEN}
    if "intermediate_size" in model:
        times = model["intermediate_size"] / model.get("hidden_size", LeanformerConfig.hidden_size)
        scaled["intermediate_size"] = max(1, round(times * sizes["hidden_size"] / 8)) * 8
    return scaled


def settings(name: str, length: int, dropout: float, own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns [model] of this size for sequences of this length, with the settings `own` in addition."""
    return {**size(name), "max_position_embeddings": length, **dropouts(dropout), **own}


def dropouts(rate: float) -> dict[str, float]:
    return {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}


def config(model: Mapping[str, Any]) -> LeanformerConfig:
    return LeanformerConfig.from_settings(model)
