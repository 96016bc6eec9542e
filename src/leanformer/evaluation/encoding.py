"""Texts to token ids, and which examples meet in which batch.

A batch is padded to its longest example, so a batch of equal lengths wastes nothing. Training reads the epochs as one
endless stream, each epoch in its own order, and cuts it into pools of `POOL` batches; a pool is sorted by length, cut
into batches, and the batches shuffled: nearly as tight as sorting everything, nearly as random as not sorting. Every
batch is full, every example is read equally often, and the rows of a step are a function of (lengths, seed, step):
equal for every mechanism, and for a run that is repeated. B batch, L length of the longest example in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.data.order import permutation

POOL = 16


@dataclass(frozen=True)
class Encoded:
    """`columns[name][i]`: ids (input_ids, token_type_ids) of example i, unpadded; `truncated`: how many were cut."""

    columns: Mapping[str, list[list[int]]]
    labels: NDArray
    truncated: int
    pad_id: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.fromiter(map(len, self.columns["input_ids"]), np.int64, len(self.labels))

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """The examples `rows` as int64 (B, L) tensors, an attention mask, and labels (B,)."""
        input_ids = [self.columns["input_ids"][i] for i in rows]
        longest = max(map(len, input_ids))
        batch = {"attention_mask": _padded([[1] * len(ids) for ids in input_ids], longest, 0)}
        for name, values in self.columns.items():
            fill = self.pad_id if name == "input_ids" else 0
            batch[name] = _padded([values[i] for i in rows], longest, fill)
        labels = torch.from_numpy(self.labels[rows])
        return batch | {"labels": labels.float() if labels.is_floating_point() else labels}


def encode(tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int) -> Encoded:
    """At most `max_length` tokens an example; of a pair that is too long the longer text is cut first."""
    texts = [list(column) for column in zip(*examples.texts, strict=True)]
    encoded = tokenizer(*texts, truncation=True, max_length=max_length, return_attention_mask=False)
    truncated = sum(bool(one.overflowing) for one in encoded.encodings or [])
    return Encoded(dict(encoded), examples.labels, truncated, tokenizer.pad_token_id or 0)


def training_rows(lengths: NDArray[np.int64], batch_size: int, steps: int, seed: int, step: int) -> NDArray[np.int64]:
    """(B,) the examples of this step out of `steps`; the last pool may hold fewer batches."""
    size, first = len(lengths), step - step % POOL
    batches = min(POOL, steps - first)
    places = np.arange(first * batch_size, (first + batches) * batch_size)
    pool = np.empty_like(places)
    for epoch in np.unique(places // size):
        within = places // size == epoch
        pool[within] = permutation(places[within] % size, size, seed, int(epoch))
    pool = pool[np.argsort(lengths[pool], kind="stable")]
    batch = int(permutation(step - first, batches, seed, -1 - first))  # negative "epochs": a stream of its own
    return pool[batch * batch_size : (batch + 1) * batch_size]


def evaluation_batches(lengths: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Every example once, shortest first."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def _padded(rows: list[list[int]], length: int, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])
