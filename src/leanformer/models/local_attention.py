"""Layers of an encoder that attend to their neighbourhood alone (Warner et al., 2024, "ModernBERT").

With W = `sliding_window` and n = `global_attn_every_n_layers`, token i of layer l = 0, 1, ... attends to token j

    always                 if l mod n = 0
    where |i - j| <= W     else, rotated with `local_rotary_base` in place of `rotary_base`, if that is given

It is a mask: no time and no memory is saved.
"""

from typing import Any

from leanformer.attention import mixer


def is_local(config: Any, layer: int) -> bool:
    """Returns whether this layer, counted from 0, attends within the window alone."""
    return config.sliding_window is not None and layer % config.global_attn_every_n_layers > 0


def check_window(config: Any) -> None:
    """Raises ValueError for a window that the rest of the config cannot have."""
    if config.sliding_window is not None and not mixer(config.mixer).any_mask:
        raise ValueError(
            f'sliding_window = {config.sliding_window}: needs model.mixer = "attention", and {config.mixer!r} cannot '
            "keep to a window"
        )
    if config.local_rotary_base is not None and (config.positions != "rotary" or config.sliding_window is None):
        raise ValueError(
            f'local_rotary_base = {config.local_rotary_base}: needs model.positions = "rotary" and model.sliding_window'
        )
