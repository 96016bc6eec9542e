"""Losses of the heads, each a mean over targets; or a sum over `count`, where a step is made of several batches.

A trainer that accumulates gradients, or averages over processes, passes the number of targets of the whole step as
`num_items_in_batch`; then the parts add up to the mean over the step.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from leanformer.models.config import LeanformerConfig

IGNORED = -100
"""A label that is no target."""


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    count: Tensor | int | None = None,
    ignored: int = IGNORED,
    smoothing: float = 0.0,
) -> Tensor:
    """logits (..., classes), labels (...): -log softmax(logits)[label], in float32 or better whatever logits are in.

    With `smoothing` s the target is 1 - s of the label and s of all classes evenly (Szegedy et al., 2016).
    """
    flat = logits.reshape(-1, logits.shape[-1])
    flat = flat if flat.dtype == torch.float64 else flat.float()
    return _reduced(F.cross_entropy, flat, labels.reshape(-1), count, ignore_index=ignored, label_smoothing=smoothing)


def sequence_loss(logits: Tensor, labels: Tensor, config: LeanformerConfig, count: Tensor | int | None) -> Tensor:
    """Returns the loss by `config.problem_type`, which the first labels decide if nobody has: one output is a
    regression (squared error), several are classes for integer labels (cross entropy) and independent yes or no for
    floating point ones."""
    if config.problem_type is None:
        if config.num_labels == 1:
            config.problem_type = "regression"
        elif labels.is_floating_point():
            config.problem_type = "multi_label_classification"
        else:
            config.problem_type = "single_label_classification"
    if config.problem_type == "single_label_classification":
        return cross_entropy(logits, labels, count)
    loss = F.mse_loss if config.problem_type == "regression" else F.binary_cross_entropy_with_logits
    return _reduced(loss, logits.float(), labels.reshape(logits.shape).float(), count)


def _reduced(
    loss: Callable[..., Tensor], logits: Tensor, labels: Tensor, count: Tensor | int | None, **options: float
) -> Tensor:
    if count is None:
        return loss(logits, labels, **options)
    return loss(logits, labels, reduction="sum", **options) / count
