"""The protocol of an objective. The loop uses nothing else of a task, so pre-training and fine-tuning share one loop.

Everything is a pure function of the step: a run that is resumed at step s calls `micro_batches(s, ...)` and nothing
before it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.corpus import Prepared
from leanformer.models.config import LeanformerConfig
from leanformer.settings import Settings

Batch = dict[str, Tensor]


class Objective(Protocol):
    @property
    def total_steps(self) -> int | None:
        """The number of updates in the budget, None if the budget is given in seconds."""

    def tokens(self, steps: int) -> int:
        """The number of tokens in the first `steps` global batches: the curve's `tokens`."""

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """Returns the part of the global batch of `step` (counted from 0) of process `rank` of `world`, on the CPU.

        Every rank returns the same number of micro-batches; together they hold the same batch whatever `world` is.
        """

    def num_targets(self, batch: Batch) -> int:
        """The number of targets in the batch, which is the weight of its loss."""

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss summed over those targets, float32, differentiable; runs under the loop's autocast."""

    def validation_batches(self, rank: int, world: int) -> Iterable[Batch]:
        """The part of `rank` in a validation set that never changes; without batches nothing is validated."""


class HeldOut(Protocol):
    """A held-out part of the data, with the targets of an objective. B sequences (or pairs), N targets per sequence."""

    @property
    def size(self) -> int:
        """The number of sequences (or pairs)."""

    @property
    def targets_per_sequence(self) -> float:
        """The mean number of targets per sequence, exact or approximate."""

    @property
    def random(self) -> bool:
        """Whether the targets depend on a draw of masks."""

    def batch(self, ids: NDArray[np.int64], draw: int) -> Batch:
        """Returns the sequences with these ids, with the masks of this draw."""

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns logits (B, N, V) and labels (B, N) of a batch; the label -100 marks a position without target."""

    def documents(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns (B,), the document in which each sequence begins."""

    def floor(self, ids: NDArray[np.int64], draws: int) -> dict[str, float]:
        """The no-context baselines `context_free` and `unigram` on these targets, nats (`data/no_context.py`)."""


class PretrainingObjective(Objective, Protocol):
    """An objective of pre-training, with what a run records about it."""

    @property
    def scored(self) -> int | None:
        """The number of predictions per sequence, None for one at every token; the ledger counts their FLOPs."""

    @property
    def data(self) -> dict[str, Any]:
        """The sizes of the data, and how much of them was cut off."""

    def held_out(self) -> Mapping[str, HeldOut]:
        """The parts on which a finished run is scored, by name: valid and, if the data have them, test and others."""

    def cache_on_device(self, device: torch.device) -> None:
        """Keep the training data on this device, if that makes training faster; otherwise they stay on the CPU."""

    def floor(self) -> dict[str, float]:
        """The no-context baselines `context_free` and `unigram` on the validation targets, nats."""


class TeacherProtocol(Protocol):
    """A teacher in pre-training; `leanformer.distillation` implements it."""

    @property
    def command(self) -> list[str]:
        """The command that continues a run, without its data and its directory."""

    def build_objective(
        self, data: Prepared, settings: Settings, student: LeanformerConfig, world: int
    ) -> tuple[PretrainingObjective, dict[str, Any]]:
        """Returns the objective, and what run.json records about the `teacher`: its path, its sha256 and its cost.

        Raises ValueError if the teacher, the student, the data and the settings do not fit each other.
        """
