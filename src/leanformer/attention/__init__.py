"""Attention in three steps: projection -> compatibility -> attend. Imports torch only.

projection    (x, memory)                    -> Heads(value, query?, key?)    where do q, k, v come from?
compatibility (heads, x, memory, positions)  -> Logits(query?, key?, bias?)   how are scores made?
attend        (logits, value, mask)          -> context                       the only softmax, mask and dropout
"""

import leanformer.attention.mechanisms  # noqa: F401  the published ones register themselves
from leanformer.attention.attend import attend, attention_weights, choose_path, with_window
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.dropout import Dropout
from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.mixers import (
    MIXERS,
    build_mixer,
    check_mixer,
    default_multipliers,
    mixer,
    mixer_options,
    register_mixer,
)
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.plain import is_plain
from leanformer.attention.plugins import load_plugin, plugins_of
from leanformer.attention.positions import Positions, Rotary
from leanformer.attention.projection import Projection
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.query_only import QueryOnly
from leanformer.attention.registry import (
    Mechanism,
    mechanism,
    names,
    projection_name,
    register,
)
from leanformer.attention.shape import Shape
from leanformer.attention.some_queries import take
from leanformer.attention.token_mixer import TokenMixer, mixers_of

__all__ = [
    "MIXERS",
    "PROJECTIONS",
    "Compatibility",
    "Dropout",
    "Heads",
    "Logits",
    "Mechanism",
    "MultiHeadAttention",
    "ParameterGroup",
    "Positions",
    "Projection",
    "QueryOnly",
    "Rotary",
    "Shape",
    "TokenMixer",
    "attend",
    "attention_weights",
    "build_mixer",
    "check_mixer",
    "choose_path",
    "default_multipliers",
    "is_plain",
    "load_plugin",
    "mechanism",
    "mixer",
    "mixer_options",
    "mixers_of",
    "names",
    "plugins_of",
    "projection_name",
    "register",
    "register_mixer",
    "take",
    "with_window",
]
