"""The objective: the student's vector of every text is to be the teacher's.

    loss = sum over losses k of  weight_k loss_k( s, t )        (`losses.py`)

over a batch of B texts, with the teacher's vectors t computed before the first step, once per text that the run reads.
Texts of similar length stand in one batch (`data/buckets.py`), and the order is a function of (lengths, seed, step).
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.buckets import evaluation_batches, training_rows
from leanformer.distillation.vectors.losses import LOSSES
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.settings import DistillationSettings, TrainingSettings
from leanformer.training.objectives.protocol import Batch

VECTORS = "vectors"
"""The entry of a batch with the teacher's vectors, (B, D)."""
VALIDATION_BATCH = 64


class Part:
    """Encoded texts with the teacher's vectors (R, D) of the texts `rows` (R,), of all of them if it is None."""

    def __init__(
        self, encoded: Encoded, vectors_RD: NDArray[np.float32], rows: NDArray[np.int64] | None = None
    ) -> None:
        self.encoded, self.vectors, self.lengths = encoded, vectors_RD, encoded.lengths
        self.places = np.arange(len(self.lengths)) if rows is None else rows

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        vectors_BD = self.vectors[np.searchsorted(self.places, rows)]
        return self.encoded.inputs(rows) | {VECTORS: torch.from_numpy(vectors_BD)}


def rows_read(lengths: NDArray[np.int64], training: TrainingSettings) -> NDArray[np.int64]:
    """Returns the texts that a run reads, in order; all of them if its budget is in seconds."""
    steps = training.steps(_tokens_per_step(lengths, training))
    if steps is None or steps * training.batch_size >= len(lengths):
        return np.arange(len(lengths))
    each = (training_rows(lengths, training.batch_size, steps, training.seed, step) for step in range(steps))
    return np.unique(np.concatenate(list(each)))


def _tokens_per_step(lengths: NDArray[np.int64], training: TrainingSettings) -> int:
    return max(1, round(training.batch_size * float(lengths.mean())))


class VectorObjective:
    def __init__(
        self,
        train: Part,
        valid: Part,
        training: TrainingSettings,
        settings: DistillationSettings,
    ) -> None:
        """Raises ValueError for fewer texts than a batch has."""
        self.train, self.valid = train, valid
        self.weights = {name: weight for name, weight in settings.vector_losses.items() if weight}
        self.temperature = settings.similarity_temperature
        self.batch_size, self.seed = training.batch_size, training.seed
        if len(train.lengths) < self.batch_size:
            raise ValueError(
                f"training.batch_size = {self.batch_size}: there are {len(train.lengths):,} texts to train on; lower "
                "it, or give more texts"
            )
        self.tokens_per_step = _tokens_per_step(train.lengths, training)
        self.total_steps = training.steps(self.tokens_per_step)

    def tokens(self, steps: int) -> int:
        return steps * self.tokens_per_step

    def rows(self, step: int) -> NDArray[np.int64]:
        return training_rows(self.train.lengths, self.batch_size, self.total_steps, self.seed, step)

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        return [self.train.batch(self.rows(step)[rank::world])]

    def num_targets(self, batch: Batch) -> int:
        return len(batch[VECTORS])

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        teacher_BD = batch[VECTORS]
        student_BD = model(**{name: tensor for name, tensor in batch.items() if name != VECTORS})
        losses = [
            weight * LOSSES[name](student_BD, teacher_BD, self.temperature) for name, weight in self.weights.items()
        ]
        return torch.stack(losses).sum() * len(teacher_BD)

    def validation_batches(self, rank: int, world: int) -> Iterator[Batch]:
        for rows in evaluation_batches(self.valid.lengths, VALIDATION_BATCH)[rank::world]:
            yield self.valid.batch(rows)
