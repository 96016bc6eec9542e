"""Masked-LM pre-training as an objective: which masks, at which step.

Masks are functions of (seed, epoch, sequence), as the order is (`sequences.py`). Validation masks 15 % under seed 0,
whatever the run's seed and rate: its loss compares across runs.

B sequences, L sequence length, N masked positions a sequence.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.corpus import Corpus, TokenStore
from leanformer.data.floor import context_free_floor
from leanformer.data.masking import IGNORED, Masked, count, mask
from leanformer.settings import TrainingSettings
from leanformer.training.objective import Batch
from leanformer.training.sequences import SequenceObjective, tensors

VALIDATION_SEED, VALIDATION_RATE = 0, 0.15


class MaskedLM(SequenceObjective):
    def __init__(self, corpus: Corpus, settings: TrainingSettings, world: int = 1) -> None:
        super().__init__(corpus, settings, world)
        if settings.final_mask_rate is not None and self.total_steps is None:
            raise ValueError("training.final_mask_rate needs a budget in steps or tokens, not training.max_seconds")

    @property
    def scored(self) -> int:
        """Predictions a sequence, when training begins."""
        return self.count(0)

    def count(self, step: int) -> int:
        """N at this step."""
        rate, final = self.settings.mask_rate, self.settings.final_mask_rate
        if final is not None and self.total_steps is not None:
            rate += (final - rate) * step / self.total_steps
        return count(rate, self.settings.sequence_length)

    def training(self, ids: NDArray[np.int64], epoch: int, step: int) -> Batch:
        number = self.count(step)
        return _named(self._masked(self.corpus.train, ids, seed=self.settings.seed, epoch=epoch, count=number))

    def validation(self, ids: NDArray[np.int64]) -> Batch:
        return _named(self._validation(ids))

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**batch, num_items_in_batch=1, return_logits=False).loss

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

    def _validation(self, ids: NDArray[np.int64]) -> Masked:
        number = count(VALIDATION_RATE, self.settings.sequence_length)
        return self._masked(self.corpus.valid, ids, seed=VALIDATION_SEED, epoch=0, count=number)

    def _masked(self, store: TokenStore, ids: NDArray[np.int64], **how: Any) -> Masked:
        tokens_BL = store.batch(ids, self.settings.sequence_length)
        return mask(tokens_BL, ids, vocabulary=self.corpus.vocabulary, **how)


def _named(masked: Masked) -> Batch:
    return tensors({"input_ids": masked.corrupted, "masked_positions": masked.positions, "labels": masked.labels})
