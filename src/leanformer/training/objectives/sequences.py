"""What objectives on packed text share: which sequences meet at which step, and which validate.

Global example g, the j-th of its step, is number batch_size * step + j (with a ramp: `batch_ramp.py`) and stands at
place g mod n of epoch g div n, n the number of training sequences. The order is a function of (seed, epoch, place), so
any step can be asked for, by any process, at once. Validation takes the same held-out sequences whatever the run's
seed: its loss compares across runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.corpus import Corpus, TokenStore
from leanformer.data.masking import IGNORED
from leanformer.data.no_context import Floor
from leanformer.data.order import permutation
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.protocol import Batch
from leanformer.training.optimizers.batch_ramp import batches

VALIDATION_BATCH = 64


class SequenceObjective(ABC):
    """ValueError if the corpus is too small for the settings, or the batch does not divide over the processes."""

    def __init__(self, corpus: Corpus, settings: TrainingSettings, world: int = 1) -> None:
        self.corpus, self.settings = corpus, settings
        self.batches = batches(settings)
        self.total_steps = self.batches.steps
        length, batch = settings.sequence_length, settings.batch_size
        for split, store, least in (("training", corpus.train, batch), ("validation", corpus.valid, 1)):
            if store.sequences(length) < least:
                raise ValueError(
                    f"{corpus.path} has {len(store):,} {split} tokens, not enough for {least} x {length}: "
                    "prepare more text, or lower training.sequence_length or training.batch_size"
                )
        require_divisible("batch_size", batch, world)
        require_divisible("first_batch_size", self.batches.size(0), world)

    @abstractmethod
    def training(self, ids: NDArray[np.int64], epoch: int, step: int) -> Batch:
        """The training sequences with these ids, as they are read in this epoch."""

    @abstractmethod
    def evaluation(self, store: TokenStore, ids: NDArray[np.int64], draw: int) -> Batch:
        """The held-out sequences with these ids; masks, if there are any, depend on the draw."""

    @abstractmethod
    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, N, V) and labels (B, N) of a batch of `evaluation`."""

    @abstractmethod
    def floor_on(self, store: TokenStore, ids: NDArray[np.int64], draws: int) -> Floor:
        """What no knowledge of the context reaches on these targets."""

    @property
    @abstractmethod
    def targets_per_sequence(self) -> float:
        """The number that `evaluation` asks for, special tokens among them, which are no targets."""

    random = False
    """Whether `evaluation` depends on the draw."""

    def held_out(self) -> dict[str, "Part"]:
        parts = {"valid": self.corpus.valid, "test": self.corpus.test, **self.corpus.others}
        return {name: Part(self, store) for name, store in parts.items() if store is not None}

    def floor(self) -> dict[str, float]:
        """The no-context baselines on the targets of validation, nats; reads the training tokens once."""
        return self.floor_on(self.corpus.valid, self.validation_ids, 1)._asdict()

    @cached_property
    def training_counts(self) -> NDArray[np.int64]:
        """Returns (V,), how often each id occurs in the training tokens."""
        return self.corpus.train.counts(self.corpus.vocab_size)

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        share = self.batches.size(step) // world
        first = self.batches.examples(step) + rank * share
        size = min(share, self.settings.micro_batch_size or share)
        ends = range(first, first + share, size)
        return [self._batch(np.arange(i, min(i + size, first + share)), step) for i in ends]

    def tokens(self, steps: int) -> int:
        return self.batches.examples(steps) * self.settings.sequence_length

    @property
    def data(self) -> dict[str, Any]:
        return self.corpus.sizes

    def num_targets(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**batch, num_items_in_batch=1, return_logits=False).loss

    def validation_batches(self, rank: int, world: int) -> Iterator[Batch]:
        for start in range(rank * VALIDATION_BATCH, len(self.validation_ids), world * VALIDATION_BATCH):
            yield self.evaluation(self.corpus.valid, self.validation_ids[start : start + VALIDATION_BATCH], 0)

    @cached_property
    def validation_ids(self) -> NDArray[np.int64]:
        total = self.corpus.valid.sequences(self.settings.sequence_length)
        return spread(total, self.settings.validation_sequences)

    def _batch(self, examples: NDArray[np.int64], step: int) -> Batch:
        """A batch at the end of an epoch goes on with the next one."""
        n, seed = self.corpus.train.sequences(self.settings.sequence_length), self.settings.seed
        epochs, places = np.divmod(examples, n)
        parts = [
            self.training(permutation(places[epochs == epoch], n, seed, epoch), epoch, step)
            for epoch in np.unique(epochs).tolist()
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Part:
    """A held-out part of packed text (`objective.HeldOut`)."""

    objective: SequenceObjective
    store: TokenStore

    @property
    def size(self) -> int:
        return self.store.sequences(self.objective.settings.sequence_length)

    @property
    def targets_per_sequence(self) -> float:
        return self.objective.targets_per_sequence

    @property
    def random(self) -> bool:
        return self.objective.random

    def batch(self, ids: NDArray[np.int64], draw: int) -> Batch:
        return self.objective.evaluation(self.store, ids, draw)

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.objective.predictions(model, batch)

    def documents(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.store.document_numbers(ids, self.objective.settings.sequence_length)[:, 0]

    def floor(self, ids: NDArray[np.int64], draws: int) -> dict[str, float]:
        return self.objective.floor_on(self.store, ids, draws)._asdict()


def require_divisible(key: str, batch_size: int, world: int) -> None:
    if batch_size % world:
        raise ValueError(f"training.{key} = {batch_size}: must be divisible by the {world} processes")


def spread(total: int, wanted: int | None) -> NDArray[np.int64]:
    """At most `wanted` (None: all) of range(total), evenly."""
    wanted = total if wanted is None else min(total, wanted)
    return np.arange(wanted) * total // wanted


def tensors(arrays: dict[str, NDArray]) -> Batch:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
