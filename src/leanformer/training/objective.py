"""What is learned. The loop knows a task through this protocol only, so pre-training and fine-tuning share one loop.

Everything is a pure function of the step: a run that is resumed at step s asks for `micro_batches(s, ...)` and for
nothing before it.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]


class Objective(Protocol):
    @property
    def total_steps(self) -> int | None:
        """Updates in the budget, None if it is given in seconds."""

    def tokens(self, steps: int) -> int:
        """Of the first so many global batches: the curve's `tokens`."""

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """The share of process `rank` of `world` in the global batch of `step` (counted from 0), on the CPU.

        Every rank returns equally many micro-batches; together the ranks hold the same batch whatever `world` is.
        """

    def num_targets(self, batch: Batch) -> int:
        """How many predictions the batch asks for: the weight of its loss."""

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss summed over those predictions, float32, differentiable; runs under the loop's autocast."""

    def validation_batches(self, rank: int, world: int) -> Iterable[Batch]:
        """The share of `rank` in a validation set that never changes; none at all: nothing is validated."""


class PretrainingObjective(Objective, Protocol):
    """What a run records of its objective besides."""

    @property
    def scored(self) -> int | None:
        """Predictions a sequence, None for one at every token: the ledger counts their FLOPs."""

    @property
    def data(self) -> dict[str, Any]:
        """Sizes of the data, and what was cut off."""

    def reside(self, device: torch.device) -> None:
        """Keep what training reads on this device, if that is worth it; without this it stays on the CPU."""

    def floor(self) -> dict[str, float]:
        """What predictors reach that know no context, `context_free` and `unigram`, nats (`data/floor.py`)."""
