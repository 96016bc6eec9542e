"""Fine-tuning as the training loop sees it; what is lost is the encoded examples' to say."""

import math
from collections.abc import Iterable

from torch import Tensor, nn

from leanformer.data.buckets import training_rows
from leanformer.evaluation.encoding import Encoded
from leanformer.training.objective import Batch


class TaskObjective:
    """`epochs` of the encoded examples; nothing is validated on the way, since no step is chosen by it."""

    def __init__(self, encoded: Encoded, batch_size: int, epochs: float, seed: int) -> None:
        self.encoded, self.batch_size, self.seed = encoded, batch_size, seed
        self.lengths = encoded.lengths
        self.total_steps = math.ceil(epochs * len(self.lengths) / batch_size)
        self.tokens_per_step = round(batch_size * self.lengths.mean())

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        if world > self.batch_size:
            raise ValueError(
                f"finetuning.batch_size = {self.batch_size}: {world} processes need at least one example each"
            )
        rows = training_rows(self.lengths, self.batch_size, self.total_steps, self.seed, step)
        return [self.encoded.batch(rows[rank::world])]

    def tokens(self, steps: int) -> int:
        return steps * self.tokens_per_step

    def num_targets(self, batch: Batch) -> int:
        return len(batch["labels"])

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        return self.encoded.losses(self.encoded.logits(model, batch), batch["labels"]).sum()

    def validation_batches(self, rank: int, world: int) -> Iterable[Batch]:
        return ()
