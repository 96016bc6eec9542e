"""Token mixers: what takes a block's states from place to place, (x, mask) -> context. One file a paper.

Multi-head attention is the usual one. The others are made of it, with any mechanism that suits them in its slots, and
differ in what stands beside its heads or in what it attends to. Their options are the keyword-only arguments of their
constructors; all others are those of `MultiHeadAttention`.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.mixers.clusters import ClusteredMemory
from leanformer.attention.mixers.convolution import ConvolutionBesideAttention
from leanformer.attention.plugins import open_to_plugins, require_free, require_name
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.registry import mechanism, names
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest

MIXERS: dict[str, type[MultiHeadAttention]] = {
    "attention": MultiHeadAttention,
    "convolution": ConvolutionBesideAttention,
    "clusters": ClusteredMemory,
}
"""Names for `model.mixer`."""
open_to_plugins(MIXERS)


def register_mixer(name: str, made: type[MultiHeadAttention]) -> None:
    """Make a mixer known by its name to `model.mixer`. ValueError if it does not derive from `MultiHeadAttention`,
    which has what models and the ledger ask of one."""
    require_name("mixer", name)
    require_free("mixer", name, MIXERS)
    if not issubclass(made, MultiHeadAttention):
        raise ValueError(f"mixer {name!r}: {made.__name__} must derive from leanformer.attention.MultiHeadAttention")
    MIXERS[name] = made


def group_names() -> set[str]:
    """Groups of parameters (`parameter_group`) that any mechanism, projection or mixer has."""
    made = {group for name in names() for group in mechanism(name).compatibility.group_names()}
    chosen = [mechanism(name).projection for name in names()]
    owners: list[Any] = [*PROJECTIONS.values(), *(each for each in chosen if each is not None), *MIXERS.values()]
    return made.union(*(owner.parameter_groups for owner in owners))


def mixer(name: str) -> type[MultiHeadAttention]:
    if name not in MIXERS:
        raise ValueError(f"unknown mixer {name!r}; {suggest(name, MIXERS)}")
    return MIXERS[name]


def mixer_options(name: str) -> dict[str, Any]:
    """Name and default of every option of its own."""
    parameters = inspect.signature(mixer(name).__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_mixer(name: str, mixing: Mapping[str, Any], mechanism: str, options: Mapping[str, Any], shape: Shape) -> None:
    """ValueError for an unknown mixer or option, for a wrong value, and for a mechanism that does not suit."""
    known = mixer_options(name)
    for option in mixing:
        if option not in known:
            remedy = suggest(option, known) if known else "it has none"
            raise ValueError(f"mixer {name!r} has no option {option!r}; {remedy}")
    if name != "attention":  # whose mechanism checks its own
        built: Any = mixer(name)
        sizes = (shape.hidden_size, shape.num_heads, shape.max_length, shape.bias)
        with torch.device("meta"):
            built(mechanism, *sizes, head_size=shape.head_size, qk_norm=shape.qk_norm, **mixing, **options)
