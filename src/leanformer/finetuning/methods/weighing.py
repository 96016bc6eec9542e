"""How much each example of a batch counts.

    loss = (1/B) sum_i w_i l_i,    w_i without gradient

l (b,) are the losses of this process's examples, B the number of all processes' in the step.

Class-weighted cross entropy, the usual answer to rare classes, has

    w_i = n / (C n_y),    y the label of example i, n_y of the n training examples have it, C classes occur

so that all classes weigh alike, and an example weighs 1 on average. It is the baseline of `absgd.py`, which knows no
classes.
"""

from typing import Protocol

from torch import Tensor


class Weighing(Protocol):
    def weights(self, losses: Tensor, epoch: float) -> Tensor:
        """w (b,), called once a step with the losses (b,), detached, and the epochs read before it."""


def class_weights(labels: Tensor) -> Tensor:
    """(largest label + 1,), float32, of the labels (n,); 0 for a class that does not occur."""
    counts = labels.bincount()
    weights = labels.shape[0] / ((counts > 0).sum() * counts.clamp(min=1))
    return weights.where(counts > 0, 0.0)
