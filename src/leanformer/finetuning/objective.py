"""The objective of fine-tuning; the encoded examples define its loss."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.buckets import training_rows
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.finetuning.methods.self_labelling import Labels
from leanformer.finetuning.methods.weighing import Weighing
from leanformer.training.objectives.protocol import Batch
from leanformer.training.run.callback import Callback

ROWS = "rows"
"""The entry of a batch with the numbers of its examples."""


class TaskObjective:
    """Training on `epochs` of the encoded examples, without validation, since no step is chosen by it."""

    def __init__(self, encoded: Encoded, batch_size: int, epochs: float, seed: int) -> None:
        self.encoded, self.batch_size, self.seed = encoded, batch_size, seed
        self.lengths = encoded.lengths
        self.total_steps = math.ceil(epochs * len(self.lengths) / batch_size)
        self.tokens_per_step = round(batch_size * self.lengths.mean())
        self.latest: Tensor | None = None
        """The losses of the latest batch, for `CollapseWatch`."""

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        return [self.encoded.batch(self.rows(step, rank, world))]

    def rows(self, step: int, rank: int, world: int) -> NDArray[np.int64]:
        """Returns the examples that this process reads in the step."""
        if world > self.batch_size:
            raise ValueError(
                f"finetuning.batch_size = {self.batch_size}: {world} processes need at least one example each"
            )
        rows = training_rows(self.lengths, self.batch_size, self.total_steps, self.seed, step)
        return rows[rank::world]

    def tokens(self, steps: int) -> int:
        return steps * self.tokens_per_step

    def num_targets(self, batch: Batch) -> int:
        return len(batch["labels"])

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        losses = self.losses(model, batch)
        self.latest = losses.detach()
        return losses.sum()

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B,), the loss of each row of the batch."""
        return self.encoded.losses(self.encoded.logits(model, batch), batch["labels"])

    def validation_batches(self, rank: int, world: int) -> Iterable[Batch]:
        return ()


class WeighedObjective(TaskObjective, Callback):
    """The same objective with weights of the examples, and with replaced labels, if these are given.

        loss = (1/B) sum_i w_i l_i

    A batch is one forward pass of each process, since weights compare all its losses. The loop must have this objective
    among its callbacks, with `weighing` and `labels`, which count the epochs and keep the state.
    """

    name = "objective"

    def __init__(
        self,
        encoded: Encoded,
        batch_size: int,
        epochs: float,
        seed: int,
        weighing: Weighing | None = None,
        labels: Labels | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(encoded, batch_size, epochs, seed)
        self.weighing, self.labels, self.class_weights, self.epoch = weighing, labels, class_weights, 0.0

    def before_step(self, step: int) -> None:
        self.epoch = step * self.batch_size / len(self.lengths)

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        rows = self.rows(step, rank, world)
        return [self.encoded.batch(rows) | {ROWS: torch.from_numpy(rows)}]

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the losses; it must be called once per step, since it updates the state of weights and labels."""
        logits = self.encoded.logits(model, {name: tensor for name, tensor in batch.items() if name != ROWS})
        labels = batch["labels"]
        if self.labels is not None:
            labels = self.labels.corrected(batch[ROWS], logits.detach(), self.epoch)
        losses = self.encoded.losses(logits, labels, self.class_weights)
        if self.weighing is not None:
            losses = losses * self.weighing.weights(losses.detach(), self.epoch)
        return losses
