"""Several labels of a text: one yes or no for each of C labels.

loss = mean over labels c of   -y_c log sigmoid(z_c) - (1 - y_c) log(1 - sigmoid(z_c))
label c is predicted if sigmoid(z_c) > 1/2
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs import encoding
from leanformer.evaluation.inputs.encoding import Encoded, Read


@dataclass(frozen=True)
class SeveralLabels(Encoded):
    """Examples whose `labels` are (N, C), 0 or 1."""

    def losses(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns (B,); `weights` (C, 2) are of no and of yes for every label."""
        losses_BC = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
        if weights is not None:
            no, yes = weights.to(labels.device).unbind(1)
            losses_BC = losses_BC * torch.where(labels > 0, yes, no)
        return losses_BC.mean(1)

    def constant_loss(self, weights: Tensor | None = None) -> float:
        shares = torch.from_numpy(self.labels).double().mean(0)
        each = [None] * len(shares) if weights is None else list(weights)
        found = [encoding.entropy(torch.stack([1 - p, p]), w) for p, w in zip(shares, each, strict=True)]
        return sum(found) / len(found)

    def read(self, logits: Sequence[NDArray[np.float32]]) -> Read:
        table = np.stack(logits)
        return Read((table > 0).astype(np.int64), table.astype(np.float64).tolist())


def encode(tokenizer: PreTrainedTokenizerBase, examples: Examples, max_length: int) -> SeveralLabels:
    """Returns examples of at most `max_length` tokens, as those of one label."""
    encoded = encoding.encode(tokenizer, examples, max_length)
    return SeveralLabels(examples, encoded.columns, encoded.labels, encoded.cut, encoded.pad_id)
