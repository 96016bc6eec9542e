"""Multiple choice: the text and each choice are read as a pair, and one output scores the choice.

    p(choice c) = exp(s_c) / sum_j exp(s_j),    s_c = classifier(text, choice c)

So C choices give C sequences per row, sequence C i + c for choice c of example i, and the C scores of an example are
used as a classifier's logits, for its loss and its answers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.encoding import Encoded, require_room, tokenized


@dataclass(frozen=True)
class Choices(Encoded):
    count: int
    """C, the number of choices."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        return super().lengths.reshape(-1, self.count).sum(1)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Returns (B, C, L) tensors, and labels (B,)."""
        sequences = self.count * rows[:, None] + np.arange(self.count)
        inputs = {name: x.unflatten(0, (-1, self.count)) for name, x in self.inputs(sequences.ravel()).items()}
        return inputs | {"labels": torch.from_numpy(self.labels[rows])}


def encode(tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int) -> Choices:
    """Returns sequences of at most `max_length` tokens; the longer of text and choice is cut first."""
    require_room(tokenizer, max_length, pair=True)
    count = len(examples.texts[0]) - 1
    texts = [text for text, *choices in examples.texts for _ in choices]
    choices = [choice for _, *choices in examples.texts for choice in choices]
    columns, cut = tokenized(tokenizer, [texts, choices], max_length)
    any_cut = np.logical_or.reduce(cut.reshape(-1, count), axis=1)
    return Choices(examples, columns, examples.labels, any_cut, tokenizer.pad_token_id or 0, count)
