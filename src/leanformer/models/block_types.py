"""Block types by name: what a layer of an encoder is, for `model.block`.

    sequential     attention, then the feed-forward layer, each with a residual step and a norm     `models/blocks.py`

A plug-in adds its own by `register_block`. A block derives from `leanformer.models.blocks.Block`.
"""

from typing import Any

from leanformer.attention.plugins import open_to_plugins
from leanformer.spelling import suggest

BLOCKS: dict[str, type[Any]] = open_to_plugins({})
"""Names for `model.block`."""
SEQUENTIAL = "sequential"


def block(name: str) -> type[Any]:
    if name not in BLOCKS:
        raise ValueError(f"unknown block {name!r}; {suggest(name, BLOCKS)}")
    return BLOCKS[name]
