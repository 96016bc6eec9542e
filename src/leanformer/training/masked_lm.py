"""Masked-LM pre-training as an objective: which sequences, which masks, at which step.

Global example g = step * batch_size + j stands at place g mod n of epoch g div n, n the number of training sequences.
Order and masks are functions of (seed, epoch, place or id), so any step can be asked for, by any process, at once.
Validation masks 15 % under seed 0, whatever the run's seed and rate: its loss compares across runs.

B sequences, L sequence length, N masked positions a sequence.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.corpus import Corpus, TokenStore
from leanformer.data.floor import context_free_floor
from leanformer.data.masking import IGNORED, Masked, count, mask
from leanformer.data.order import permutation
from leanformer.settings import TrainingSettings
from leanformer.training.objective import Batch

VALIDATION_SEED, VALIDATION_RATE, VALIDATION_BATCH = 0, 0.15, 64


class MaskedLM:
    """ValueError if the corpus is too small for the settings, or the batch does not divide over the processes."""

    def __init__(self, corpus: Corpus, settings: TrainingSettings, world: int = 1) -> None:
        self.corpus, self.settings = corpus, settings
        self.total_steps, self.tokens_per_step = settings.total_steps, settings.tokens_per_step
        length, batch = settings.sequence_length, settings.batch_size
        for split, store, least in (("training", corpus.train, batch), ("validation", corpus.valid, 1)):
            if store.sequences(length) < least:
                raise ValueError(
                    f"{corpus.path} has {len(store):,} {split} tokens, not enough for {least} x {length}: "
                    "prepare more text, or lower training.sequence_length or training.batch_size"
                )
        if batch % world:
            raise ValueError(f"training.batch_size = {batch}: must be divisible by the {world} processes")
        if settings.final_mask_rate is not None and self.total_steps is None:
            raise ValueError("training.final_mask_rate needs a budget in steps or tokens, not training.max_seconds")

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        share = self.settings.batch_size // world
        first = step * self.settings.batch_size + rank * share
        size = min(share, self.settings.micro_batch_size or share)
        ends = range(first, first + share, size)
        return [self._training_batch(np.arange(i, min(i + size, first + share)), step) for i in ends]

    def num_targets(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**batch, num_items_in_batch=1).loss

    def validation_batches(self, rank: int, world: int) -> Iterator[Batch]:
        for start in range(rank * VALIDATION_BATCH, len(self.validation_ids), world * VALIDATION_BATCH):
            yield _tensors(self._validation(self.validation_ids[start : start + VALIDATION_BATCH]))

    @cached_property
    def validation_ids(self) -> NDArray[np.int64]:
        """Spread evenly over the held-out sequences."""
        total = self.corpus.valid.sequences(self.settings.sequence_length)
        wanted = min(total, self.settings.validation_sequences or total)
        return np.arange(wanted) * total // wanted

    def count(self, step: int) -> int:
        """N at this step."""
        rate, final = self.settings.mask_rate, self.settings.final_mask_rate
        if final is not None and self.total_steps is not None:
            rate += (final - rate) * step / self.total_steps
        return count(rate, self.settings.sequence_length)

    def floor(self) -> dict[str, float]:
        """The context-free floor on the frozen validation masks, nats; reads the training tokens once."""
        counts = self.corpus.train.counts(self.corpus.vocab_size)
        floors, targets = [], []
        for start in range(0, len(self.validation_ids), 4096):
            masked = self._validation(self.validation_ids[start : start + 4096])
            floors.append(context_free_floor(counts, masked, self.corpus.vocabulary))
            targets.append((masked.labels != IGNORED).sum())
        context_free, unigram = np.average(floors, axis=0, weights=targets).tolist()
        return {"context_free": context_free, "unigram": unigram}

    def _training_batch(self, examples: NDArray[np.int64], step: int) -> Batch:
        """A batch at the end of an epoch goes on with the next one."""
        n, seed = self.corpus.train.sequences(self.settings.sequence_length), self.settings.seed
        epochs, places = np.divmod(examples, n)
        parts = []
        for epoch in np.unique(epochs).tolist():
            ids = permutation(places[epochs == epoch], n, seed, epoch)
            parts.append(self._masked(self.corpus.train, ids, seed=seed, epoch=epoch, count=self.count(step)))
        return _tensors(Masked(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))))

    def _validation(self, ids: NDArray[np.int64]) -> Masked:
        number = count(VALIDATION_RATE, self.settings.sequence_length)
        return self._masked(self.corpus.valid, ids, seed=VALIDATION_SEED, epoch=0, count=number)

    def _masked(self, store: TokenStore, ids: NDArray[np.int64], **how: Any) -> Masked:
        tokens_BL = store.batch(ids, self.settings.sequence_length)
        return mask(tokens_BL, ids, vocabulary=self.corpus.vocabulary, **how)


def _tensors(masked: Masked) -> Batch:
    arrays = {"input_ids": masked.corrupted, "masked_positions": masked.positions, "labels": masked.labels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
