"""Training on pairs as an objective: the target text, token by token, from the source text and what is written so far.

    loss = mean over target tokens, [SEP] included, of -log p(t_l | source, t_0 .. t_{l-1})

Pairs of like lengths meet in a batch, which is padded to its longest (`data/buckets.py`); which pairs is a function of
(seed, step). A step counts batch_size x mean length of a target, rounded: steps differ a little in length, and their
mean is this. Validation asks for every frozen held-out pair's target, without label smoothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.buckets import evaluation_batches, training_rows
from leanformer.data.masking import IGNORED
from leanformer.data.no_context import next_token_baseline
from leanformer.data.pairs import PairCorpus, PairStore
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.protocol import Batch
from leanformer.training.objectives.sequences import VALIDATION_BATCH, require_divisible, spread, tensors


class Seq2Seq:
    """ValueError if the batch does not divide over the processes, or has more pairs than there are."""

    scored = None

    def __init__(self, corpus: PairCorpus, settings: TrainingSettings, world: int = 1) -> None:
        self.corpus, self.settings = corpus, settings
        length, batch = settings.sequence_length, settings.batch_size
        if length < 3:
            raise ValueError(f"training.sequence_length = {length}: [CLS] and [SEP] leave no room for text")
        if len(corpus.train) < batch:
            raise ValueError(
                f"{corpus.path} has {len(corpus.train):,} training pairs, not enough for training.batch_size = {batch}"
            )
        require_divisible("batch_size", batch, world)
        source, target = corpus.train.lengths(length)
        self.lengths = source + target
        self.tokens_per_step = round(batch * target.mean())
        self.total_steps = settings.steps(self.tokens_per_step)

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        settings = self.settings
        rows = training_rows(self.lengths, settings.batch_size, self.total_steps, settings.seed, step)[rank::world]
        size = min(len(rows), settings.micro_batch_size or len(rows))
        return [self.batch(self.corpus.train, rows[i : i + size]) for i in range(0, len(rows), size)]

    def tokens(self, steps: int) -> int:
        return steps * self.tokens_per_step

    def num_targets(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def cache_on_device(self, device: torch.device) -> None:
        """Nothing: a batch is small beside a step."""

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**batch, num_items_in_batch=1, return_logits=False).loss

    def validation_batches(self, rank: int, world: int) -> Iterator[Batch]:
        for rows in self._validation_rows[rank::world]:
            yield self.batch(self.corpus.valid, rows)

    def batch(self, store: PairStore, rows: NDArray[np.int64]) -> Batch:
        pairs = store.batch(rows, self.settings.sequence_length, self.corpus.pad_id)
        return tensors({"input_ids": pairs.sources, "attention_mask": pairs.mask, "labels": pairs.targets})

    def held_out(self) -> dict[str, "Pairs"]:
        names = dict.fromkeys(("valid", self.corpus.test))
        return {"test" if name != "valid" else name: Pairs(self, self.corpus.splits[name]) for name in names}

    def floor(self) -> dict[str, float]:
        """The unigram baseline on the validation targets, nats: it sees neither the source nor what is written yet."""
        return self.floor_of(batch["labels"] for batch in self.validation_batches(0, 1))

    def floor_of(self, labels: Iterable[Tensor]) -> dict[str, float]:
        """The same on these labels, -100 aside."""
        asked = [array[array != IGNORED] for array in (tensor.numpy() for tensor in labels)]
        return next_token_baseline(self.training_counts, np.concatenate(asked))._asdict()

    @cached_property
    def training_counts(self) -> NDArray[np.int64]:
        """Returns (V,), how often each id occurs in the training targets."""
        counts = self.corpus.train.target.counts(self.corpus.vocab_size)
        counts[self.corpus.cls_id] = 0  # begins every target, and is never asked for
        return counts

    @property
    def data(self) -> dict[str, Any]:
        """With the texts of each side that are longer than `training.sequence_length`, and cut."""
        splits = {"train": self.corpus.train, "valid": self.corpus.valid}
        truncated = {split: store.truncated(self.settings.sequence_length) for split, store in splits.items()}
        return self.corpus.sizes | {"task": self.corpus.task, "truncated": truncated}

    @cached_property
    def _validation_rows(self) -> list[NDArray[np.int64]]:
        ids = spread(len(self.corpus.valid), self.settings.validation_sequences)
        lengths = sum(self.corpus.valid.lengths(self.settings.sequence_length))
        return [ids[rows] for rows in evaluation_batches(np.asarray(lengths)[ids], VALIDATION_BATCH)]


@dataclass(frozen=True)
class Pairs:
    """A held-out split of pairs (`objective.HeldOut`); each pair is a document of its own."""

    objective: Seq2Seq
    store: PairStore
    random = False

    @property
    def size(self) -> int:
        return len(self.store)

    @property
    def targets_per_sequence(self) -> float:
        return float(self.store.lengths(self.objective.settings.sequence_length)[1].mean())

    def batch(self, ids: NDArray[np.int64], draw: int) -> Batch:
        return self.objective.batch(self.store, ids)

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return model(**batch, return_logits=True).logits, batch["labels"]

    def documents(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(ids, np.int64)

    def floor(self, ids: NDArray[np.int64], draws: int) -> dict[str, float]:
        return self.objective.floor_of([self.batch(ids, 0)["labels"]])
