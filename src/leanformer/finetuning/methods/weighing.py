"""The weight of each example of a batch.

    loss = (1/B) sum_i w_i l_i,    w_i without gradient

l (b,) are the losses of this process's examples, B is the number of examples of all processes in the step.

Class-weighted cross entropy, the usual method for rare classes, has

    w_i = n / (C n_y),    y the label of example i, n_y of the n training examples have it, C classes occur

so that all classes have the same total weight, and an example has weight 1 on average. It is the baseline of
`absgd.py`, which does not use classes. Of tags, the words are the examples; each of several labels is a question with
the two classes no and yes.
"""

from typing import Protocol

import torch
from torch import Tensor


class Weighing(Protocol):
    def weights(self, losses: Tensor, epoch: float) -> Tensor:
        """Returns w (b,); called once per step with the losses (b,), detached, and the epochs read before it."""


def class_weights(labels: Tensor, classes: int = 0) -> Tensor:
    """Returns float32 weights from the labels: 0 for a class that does not occur.

    Labels (n,) give (max(largest label + 1, classes),), a table (n, C) of no and yes gives (C, 2).
    """
    if labels.ndim == 2:
        return torch.stack([class_weights(column, 2) for column in labels.unbind(1)])
    counts = labels.bincount(minlength=classes)
    weights = labels.shape[0] / ((counts > 0).sum() * counts.clamp(min=1))
    return weights.where(counts > 0, 0.0)
