"""What is learned. The loop knows a task through this protocol only, so pre-training and fine-tuning share one loop.

Everything is a pure function of the step: a run that is resumed at step s asks for `micro_batches(s, ...)` and for
nothing before it.
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


class HeldOut(Protocol):
    """A held-out part of the data, as an objective asks a model about it. B sequences (or pairs), N targets of each."""

    @property
    def size(self) -> int:
        """Sequences (or pairs) in all."""

    @property
    def targets_per_sequence(self) -> float:
        """The mean number, or nearly."""

    @property
    def random(self) -> bool:
        """Whether the targets depend on a draw of masks."""

    def batch(self, ids: NDArray[np.int64], draw: int) -> Batch:
        """The sequences with these ids, under the masks of this draw."""

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, N, V) and labels (B, N) of a batch; -100 is no target."""

    def documents(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) the document in which each sequence begins."""

    def floor(self, ids: NDArray[np.int64], draws: int) -> dict[str, float]:
        """`context_free` and `unigram` on these targets, nats (`data/no_context.py`)."""


class PretrainingObjective(Objective, Protocol):
    """What a run records of its objective besides."""

    @property
    def scored(self) -> int | None:
        """Predictions a sequence, None for one at every token: the ledger counts their FLOPs."""

    @property
    def data(self) -> dict[str, Any]:
        """Sizes of the data, and what was cut off."""

    def held_out(self) -> Mapping[str, HeldOut]:
        """The parts that a finished run is scored on, by name: valid and, if the data have them, test and others."""

    def cache_on_device(self, device: torch.device) -> None:
        """Keep what training reads on this device, if that is worth it; without this it stays on the CPU."""

    def floor(self) -> dict[str, float]:
        """What predictors reach that know no context, `context_free` and `unigram`, nats (`data/no_context.py`)."""


class TeacherProtocol(Protocol):
    """A teacher, as the training of a model uses one; `leanformer.distillation` implements it."""

    @property
    def command(self) -> list[str]:
        """The verb and the arguments by which a run is continued, but for its data and its directory."""

    def build_objective(
        self, data: Prepared, settings: Settings, student: LeanformerConfig, world: int
    ) -> tuple[PretrainingObjective, dict[str, Any]]:
        """Returns what is learned, and what run.json records of the `teacher`: its path, its sha256, what it costs.

        ValueError if the teacher, the student, the data and the settings do not fit each other.
        """
