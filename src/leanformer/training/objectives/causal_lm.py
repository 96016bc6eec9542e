"""Causal-LM pre-training as an objective: every token of a sequence but the first is predicted from those before it.

    loss = mean over sequences and l = 1 .. L - 1 of -log p(token_l | token_0 .. token_{l-1})

The labels are the sequences themselves, the model shifts them, as Hugging Face's do. [CLS] and [SEP], which begin and
end a document, are predicted like any other token.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.corpus import TokenStore
from leanformer.data.masking import IGNORED
from leanformer.data.no_context import Floor, next_token_baseline
from leanformer.training.objectives.protocol import Batch
from leanformer.training.objectives.sequences import SequenceObjective, tensors


class CausalLM(SequenceObjective):
    @property
    def scored(self) -> None:
        """Every position is; the last one's prediction is computed and not asked for."""

    def training(self, ids: NDArray[np.int64], epoch: int, step: int) -> Batch:
        return _labelled(self.corpus.train.batch(ids, self.settings.sequence_length))

    @property
    def targets_per_sequence(self) -> float:
        return self.settings.sequence_length - 1

    def evaluation(self, store: TokenStore, ids: NDArray[np.int64], draw: int) -> Batch:
        return _labelled(store.batch(ids, self.settings.sequence_length))

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        labels = batch["labels"]
        return model(input_ids=batch["input_ids"]).logits[:, :-1], labels[:, 1:]

    def cache_on_device(self, device: torch.device) -> None:
        """Nothing: a batch is small beside a step."""

    def num_targets(self, batch: Batch) -> int:
        return int((batch["labels"][:, 1:] != IGNORED).sum())

    def floor_on(self, store: TokenStore, ids: NDArray[np.int64], draws: int) -> Floor:
        targets = store.batch(ids, self.settings.sequence_length)[:, 1:]
        return next_token_baseline(self.training_counts, targets)


def _labelled(tokens_BL: NDArray[np.int64]) -> Batch:
    return tensors({"input_ids": tokens_BL, "labels": tokens_BL})
