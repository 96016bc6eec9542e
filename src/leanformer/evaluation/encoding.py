"""Texts to token ids, and examples to a batch (`data/buckets.py` says which). B batch, L length of its longest one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples


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


def _padded(rows: list[list[int]], length: int, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])
