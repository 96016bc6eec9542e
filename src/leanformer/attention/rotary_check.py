"""Whether a mechanism sees rotary positions at all: a model without a table of positions has no other order.

The scores are made once on the meta device, with positions that note whether they are asked for anything. That scores
move with positions as they should is for the contract to find (`testing.check_rotation_turns_query_and_key`).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from leanformer.attention.positions import Positions, Rotary
from leanformer.attention.registry import Mechanism
from leanformer.attention.shape import Shape


def require_positions(mechanism: Mechanism, shape: Shape, options: Mapping[str, Any], rotary: Rotary) -> None:
    """ValueError, by name, for a mechanism that makes nothing of rotary positions, or whose vectors they do not fit."""
    asked: list[str] = []

    class Watched(Positions):
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

    # What computes with values cannot be tried without memory for them.
    with suppress(NotImplementedError, RuntimeError), torch.device("meta"), torch.no_grad():
        projection, compatibility = mechanism.build(shape, **options)
        x = torch.empty(1, min(2, shape.max_length), shape.hidden_size)
        heads = projection(x, x)
        positions = Watched(*Positions.counted(x.shape[1], x.shape[1], x.device, rotary))
        asked.clear()
        try:
            compatibility(heads, x, x, positions)
        except ValueError as error:
            raise ValueError(f"{mechanism.name}: {error}") from None
        if not asked:
            raise ValueError(
                f'{mechanism.name} makes nothing of positions, and positions = "rotary" are all that a model then has: '
                "rotate what it compares, positions.rotate(query, key), or take learned positions"
            )
