"""Encoding of texts as token ids, and of a model's outputs as labels. B batch, L length of its longest sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.training.objectives.protocol import Batch


class Read(NamedTuple):
    """The predictions of a model for E examples."""

    predictions: NDArray
    """(E,) positions of labels, numbers or, as objects, texts."""
    scores: list[list[float]]
    """The logits that decided about each example."""


@dataclass(frozen=True)
class Encoded:
    """Examples as the inputs of a classifier, one row per example; other kinds of task override what differs.

        loss = -log softmax(logits)[label]      or, for a regression,      (output - label)^2

    C labels, 1 for a regression.
    """

    examples: Examples
    columns: Mapping[str, list[list[int]]]
    """`columns[name][i]`: ids (input_ids, token_type_ids) of sequence i, unpadded."""
    labels: NDArray
    """The label of each row."""
    cut: NDArray[np.bool_]
    """(E,) which examples were truncated."""
    pad_id: int

    @property
    def truncated(self) -> int:
        """The number of truncated examples."""
        return int(self.cut.sum())

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.fromiter(map(len, self.columns["input_ids"]), np.int64, len(self.columns["input_ids"]))

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Returns the examples `rows` as int64 (B, L) tensors, an attention mask, and labels (B,)."""
        labels = torch.from_numpy(self.labels[rows])
        return self.inputs(rows) | {"labels": labels.float() if labels.is_floating_point() else labels}

    def inputs(self, sequences: NDArray[np.int64]) -> dict[str, Tensor]:
        input_ids = [self.columns["input_ids"][i] for i in sequences]
        longest = max(map(len, input_ids))
        inputs = {"attention_mask": _padded([[1] * len(ids) for ids in input_ids], longest, 0)}
        for name, values in self.columns.items():
            fill = self.pad_id if name == "input_ids" else 0
            inputs[name] = _padded([values[i] for i in sequences], longest, fill)
        return inputs

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, C)."""
        return outputs(model, batch).logits

    def losses(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns (B,), float32; `weights` (C,) are those of the classes."""
        found = losses(logits, labels)
        return found if weights is None else found * weights.to(labels.device)[labels]

    @property
    def targets(self) -> NDArray:
        """The classes or numbers that are predicted, one after the other."""
        return self.labels

    def constant_loss(self, weights: Tensor | None = None) -> float | None:
        """Returns the mean loss of the best answer that ignores the input, None if it is not known."""
        if np.issubdtype(self.targets.dtype, np.floating):
            return float(self.targets.var())
        return entropy(torch.from_numpy(self.targets).bincount().double() / len(self.targets), weights)

    def read(self, logits: Sequence[NDArray[np.float32]]) -> Read:
        """Returns the predictions from the logits of every row in order: the label of the largest, or the number."""
        table = np.stack(logits)
        number = np.issubdtype(self.labels.dtype, np.floating)
        return Read(table[:, 0] if number else table.argmax(1), table.astype(np.float64).tolist())


def encode(tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int) -> Encoded:
    """Returns examples of at most `max_length` tokens; if a pair is too long, the longer text is cut first."""
    texts = [list(column) for column in zip(*examples.texts, strict=True)]
    require_room(tokenizer, max_length, pair=len(texts) == 2)
    columns, cut = tokenized(tokenizer, texts, max_length)
    return Encoded(examples, columns, examples.labels, cut, tokenizer.pad_token_id or 0)


def tokenized(
    tokenizer: PreTrainedTokenizerBase, texts: list[list[str]], max_length: int
) -> tuple[dict[str, list[list[int]]], NDArray[np.bool_]]:
    """Returns the ids of each sequence, and whether it was cut."""
    encoded = tokenizer(*texts, truncation=True, max_length=max_length, return_attention_mask=False)
    return dict(encoded), np.array([bool(one.overflowing) for one in encoded.encodings or []])


def require_room(tokenizer: PreTrainedTokenizerBase, max_length: int, *, pair: bool) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=pair)
    if max_length <= special:
        raise ValueError(
            f"max_length = {max_length}: {special} special tokens leave no room for text; raise --max-length, or "
            "finetuning.max_length of a fine-tuning"
        )


def outputs(model: nn.Module, batch: Batch) -> Any:
    return model(**{name: tensor for name, tensor in batch.items() if name != "labels"})


def losses(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Returns (B,), float32."""
    if labels_B.is_floating_point():
        return F.mse_loss(logits_BC.float()[:, 0], labels_B, reduction="none")
    return F.cross_entropy(logits_BC.float(), labels_B, reduction="none")


def entropy(shares_C: Tensor, weights_C: Tensor | None = None) -> float:
    """Returns min over q of -sum_c p_c w_c log q_c, the loss of the best constant: q_c = p_c w_c / sum p w."""
    mass = shares_C if weights_C is None else shares_C * weights_C
    return float(-torch.special.xlogy(mass, mass / mass.sum()).sum())


def _padded(rows: list[list[int]], length: int, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])
