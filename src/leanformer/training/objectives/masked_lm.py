"""The masked-LM objective: which masks the model trains on at each step.

Masks are functions of (seed, epoch, sequence), as the order is (`sequences.py`). Validation masks 15 % of the tokens
with seed 0, whatever the run's seed and rate, so validation losses of different runs can be compared.

On a GPU with room for them the training tokens are kept and masked there (`device_masks.py`). Where shapes must not
change, because the model is compiled for them, every batch is as wide as the widest: surplus positions have no label.

B sequences, L sequence length, N masked positions per sequence.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from leanformer.data.corpus import TokenStore
from leanformer.data.masking import IGNORED, Masked, count, mask
from leanformer.data.no_context import Floor, no_context_baseline
from leanformer.training.objectives.device_masks import DeviceMasks, fits
from leanformer.training.objectives.documents import within_documents
from leanformer.training.objectives.protocol import Batch
from leanformer.training.objectives.sequences import SequenceObjective, tensors

VALIDATION_SEED, VALIDATION_RATE = 0, 0.15


class MaskedLM(SequenceObjective):
    device_masks: DeviceMasks | None = None

    @property
    def scored(self) -> int:
        """The number of predictions per sequence when training begins."""
        return self.count(0)

    def count(self, step: int) -> int:
        """Returns N at this step."""
        rate, final = self.settings.mask_rate, self.settings.final_mask_rate
        if final is not None and self.total_steps is not None:
            rate += (final - rate) * self.batches.full(step) / self.batches.full(self.total_steps)
        return count(rate, self.settings.sequence_length)

    @cached_property
    def widest(self) -> int:
        """Returns the largest N of the run."""
        return max(self.count(0), self.count((self.total_steps or 1) - 1))

    def cache_on_device(self, device: torch.device) -> None:
        """Keep the training tokens on this device, if it is a GPU with room for them."""
        if fits(self.corpus.train, device):
            settings, corpus = self.settings, self.corpus
            masks = DeviceMasks(corpus.train, settings.sequence_length, corpus.vocabulary, settings.seed, device)
            self.device_masks = masks

    def training(self, ids: NDArray[np.int64], epoch: int, step: int) -> Batch:
        number = self.count(step)
        if self.device_masks is not None:
            ones = np.ones_like(ids)
            return tensors({"sequences": ids, "epochs": epoch * ones, "counts": number * ones})
        store = self.corpus.train
        batch = self._named(store, ids, self._masked(store, ids, seed=self.settings.seed, epoch=epoch, count=number))
        if self.settings.compile:
            surplus = 0, self.widest - number
            batch["masked_positions"] = pad(batch["masked_positions"], surplus)
            batch["labels"] = pad(batch["labels"], surplus, value=IGNORED)
        return batch

    random = True

    @property
    def targets_per_sequence(self) -> float:
        return count(VALIDATION_RATE, self.settings.sequence_length)

    def evaluation(self, store: TokenStore, ids: NDArray[np.int64], draw: int) -> Batch:
        return self._named(store, ids, self._frozen(store, ids, draw))

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        inputs = self.read(batch)
        labels = inputs.pop("labels")
        return model(**inputs).logits, labels

    def num_targets(self, batch: Batch) -> int:
        if self.device_masks is not None and "sequences" in batch:
            return self.device_masks.num_targets(batch["sequences"], batch["counts"])
        return super().num_targets(batch)

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**self.read(batch), num_items_in_batch=1, return_logits=False).loss

    def read(self, batch: Batch) -> Batch:
        """Returns the model's inputs, on the device of the batch."""
        if self.device_masks is not None and "sequences" in batch:
            ids = batch["sequences"]
            numbers = {"documents": self.device_masks.document_numbers(ids)} if self.settings.document_mask else {}
            batch = self.device_masks.batch(ids, batch["epochs"], batch["counts"], self.widest) | numbers
        if not self.settings.document_mask:
            return batch
        rest = {name: tensor for name, tensor in batch.items() if name != "documents"}
        return rest | within_documents(batch["documents"])

    def floor_on(self, store: TokenStore, ids: NDArray[np.int64], draws: int) -> Floor:
        floors, targets = [], []
        for draw in range(draws):
            for start in range(0, len(ids), 4096):
                masked = self._frozen(store, ids[start : start + 4096], draw)
                floors.append(no_context_baseline(self.training_counts, masked, self.corpus.vocabulary))
                targets.append((masked.labels != IGNORED).sum())
        return Floor(*np.average(floors, axis=0, weights=targets).tolist())

    def _frozen(self, store: TokenStore, ids: NDArray[np.int64], draw: int) -> Masked:
        """Returns masks that are the same for every run, whatever its seed and rate."""
        number = count(VALIDATION_RATE, self.settings.sequence_length)
        return self._masked(store, ids, seed=VALIDATION_SEED, epoch=draw, count=number)

    def _masked(self, store: TokenStore, ids: NDArray[np.int64], **how: Any) -> Masked:
        tokens_BL = store.batch(ids, self.settings.sequence_length)
        return mask(tokens_BL, ids, vocabulary=self.corpus.vocabulary, **how)

    def _named(self, store: TokenStore, ids: NDArray[np.int64], masked: Masked) -> Batch:
        arrays = {"input_ids": masked.corrupted, "masked_positions": masked.positions, "labels": masked.labels}
        if self.settings.document_mask:
            arrays["documents"] = store.document_numbers(ids, self.settings.sequence_length)
        return tensors(arrays)
