"""Token mixers: what takes a block's states from place to place, (x, mask) -> context. One file a paper.

Multi-head attention is the usual one. Some are made of it, with any mechanism that suits them in its slots, and differ
in what stands beside its heads or in what it attends to. The others have no mechanism (`token_mixer`): floors by which
to measure what attention is worth. Options are the keyword-only arguments of the constructors; all others are those of
`MultiHeadAttention`, or a `Shape`.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.mixers.clusters import ClusteredMemory
from leanformer.attention.mixers.convolution import ConvolutionBesideAttention
from leanformer.attention.mixers.fourier import FourierMixing
from leanformer.attention.mixers.gmlp import GatedMLP
from leanformer.attention.mixers.linear import LinearMixing
from leanformer.attention.mixers.shaped import ShapedAttention
from leanformer.attention.parameter_group import require_groups
from leanformer.attention.plugins import open_to_plugins, require_free, require_name, require_subclass
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.registry import mechanism, names
from leanformer.attention.shape import Shape
from leanformer.attention.token_mixer import TokenMixer
from leanformer.spelling import suggest

DEFAULT = "dot_product"
"""The mechanism of a config that names none."""
MIXERS: dict[str, type[TokenMixer]] = {
    "attention": MultiHeadAttention,
    "convolution": ConvolutionBesideAttention,
    "clusters": ClusteredMemory,
    "shaped": ShapedAttention,
    "linear": LinearMixing,
    "gmlp": GatedMLP,
    "fourier": FourierMixing,
}
"""Names for `model.mixer`."""
open_to_plugins(MIXERS)


def register_mixer(name: str, made: type[TokenMixer]) -> None:
    """Make a mixer known by its name to `model.mixer`. ValueError if it does not derive from `TokenMixer`, which
    `MultiHeadAttention` does."""
    require_name("mixer", name)
    require_free("mixer", name, MIXERS)
    require_subclass(f"mixer {name!r}", made, TokenMixer)
    require_groups(made.__name__, made.parameter_groups)
    MIXERS[name] = made


def default_multipliers() -> dict[str, set[float]]:
    """Returns the groups of parameters (`parameter_group`) of all mechanisms, projections and mixers, each with the
    default multipliers that these declare."""
    rows = [mechanism(name) for name in names()]
    owners: list[Any] = [*PROJECTIONS.values(), *(row.projection for row in rows if row.projection), *MIXERS.values()]
    groups = [group for row in rows for group in row.compatibility.groups()]
    groups += [group for owner in owners for group in owner.parameter_groups.items()]
    found: dict[str, set[float]] = {}
    for name, group in groups:
        found.setdefault(name, set()).add(group.multiplier)
    return found


def mixer(name: str) -> type[TokenMixer]:
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
        if isinstance(known[option], bool) and not isinstance(mixing[option], bool):
            raise ValueError(f"mixer {name!r}: {option} = {mixing[option]!r}: give true or false")
    if not mixer(name).attends and (mechanism != DEFAULT or options):
        given = f"attention = {mechanism!r}" if mechanism != DEFAULT else f"attention_options = {dict(options)}"
        raise ValueError(f"{given}: mixer {name!r} has no heads for a mechanism, leave it out")
    if name != "attention":  # whose mechanism checks its own
        try:
            with torch.device("meta"):
                build_mixer(name, mixing, mechanism, options, shape)
        except TypeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"mixer {name!r} with {dict(mixing)}: a value of the wrong type ({reason})") from None


def build_mixer(
    name: str,
    mixing: Mapping[str, Any],
    mechanism: str,
    options: Mapping[str, Any],
    shape: Shape,
    dropout: float = 0.0,
) -> TokenMixer:
    """Returns a new mixer of this name and these options, with the mechanism in its slots if it has heads."""
    made: Any = mixer(name)
    if not made.attends:
        return made(shape, dropout, **mixing)
    sizes = (shape.hidden_size, shape.num_heads, shape.max_length, shape.bias, dropout, shape.head_size, shape.qk_norm)
    return made(mechanism, *sizes, **mixing, **options)
