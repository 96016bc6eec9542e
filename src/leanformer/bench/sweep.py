"""What a benchmark of mechanisms measures: every mechanism at every size and length, in batches of equal tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch

from leanformer.bench.sizes import config, settings
from leanformer.comparison.variants import Variant
from leanformer.models import LeanformerConfig


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The arms of a benchmark; `tokens` is the number per batch, `model` holds further settings of [model]."""

    variants: Sequence[Variant]
    sizes: Sequence[str]
    lengths: Sequence[int]
    tokens: int
    device: torch.device
    rounds: int = 7
    dropout: float = 0.0
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for size, length in self.points:
            for variant in self.variants:
                self.config(size, length, variant)  # reports a wrong setting before anything is measured

    @property
    def points(self) -> list[tuple[str, int]]:
        return list(product(self.sizes, self.lengths))

    @property
    def turns(self) -> int:
        """The number of turns of all arms, if each takes one per round."""
        return len(self.points) * len(self.variants) * self.rounds

    def batch(self, length: int) -> int:
        return max(1, self.tokens // length)

    def settings(self, size: str, length: int, variant: Variant) -> dict[str, Any]:
        """Returns [model] of an arm."""
        own = {"attention": variant.mechanism, "attention_options": variant.options}
        return settings(size, length, self.dropout, {**own, **self.model, **variant.model})

    def config(self, size: str, length: int, variant: Variant) -> LeanformerConfig:
        return config(self.settings(size, length, variant))

    def record(self) -> dict[str, Any]:
        """Returns the settings for results.json."""
        named = {"sizes": list(self.sizes), "lengths": list(self.lengths), "tokens": self.tokens}
        return named | {"rounds": self.rounds, "model": self.model}
