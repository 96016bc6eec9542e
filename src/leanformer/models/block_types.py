"""Block types by name: what a layer of an encoder is, for `model.block`.

    sequential             attention, then the feed-forward layer, each with a      `models/blocks.py`
                           residual step and a norm
    simplified             shaped attention without a residual step, then the       `models/simplified_blocks.py`
                           feed-forward layer with one
    simplified_parallel    both of one norm's output, added up, without residual    `models/simplified_blocks.py`
                           steps
    mixing_only            the residual step of the mixer, no feed-forward layer    `models/mixing_only.py`

A plug-in adds its own by `register_block`. A block derives from `leanformer.models.blocks.Block`.
"""

from typing import Any

from leanformer.attention.plugins import open_to_plugins
from leanformer.spelling import suggest

BLOCKS: dict[str, type[Any]] = open_to_plugins({})
"""Names for `model.block`."""
SEQUENTIAL = "sequential"
DECODER_BLOCKS: dict[str, type[Any]] = {}
"""The layers of a decoder, by the names of those block types that it may have."""


def block(name: str) -> type[Any]:
    if name not in BLOCKS:
        raise ValueError(f"unknown block {name!r}; {suggest(name, BLOCKS)}")
    return BLOCKS[name]


def decoder_block(config: Any) -> type[Any]:
    """Returns the class of a decoder's layers. Those of an encoder-decoder have cross-attention, and are sequential."""
    known = DECODER_BLOCKS if not config.is_encoder_decoder else [SEQUENTIAL]
    if config.block not in known:
        owner = "an encoder-decoder" if config.is_encoder_decoder else "a decoder"
        raise ValueError(
            f"block = {config.block!r} is an encoder's: leave it out of {owner}'s config, which can have "
            f"{', '.join(known)}"
        )
    return DECODER_BLOCKS[config.block]


def check_block_type(config: Any) -> None:
    """Raises ValueError unless the block type of a `LeanformerConfig` can have its norm, its mixer and its maps."""
    kind = block(config.block)
    if config.norm not in kind.norm_kinds:
        raise ValueError(f'norm = {config.norm!r}: block {config.block!r} needs model.norm = "{kind.norm_kinds[0]}"')
    if kind.mixers and config.mixer not in kind.mixers:
        raise ValueError(f'mixer = {config.mixer!r}: block {config.block!r} needs model.mixer = "{kind.mixers[0]}"')
    if config.zero_outputs and not kind.residual:
        raise ValueError(f"zero_outputs: block {config.block!r} has no residual step around its mixer, leave it out")
