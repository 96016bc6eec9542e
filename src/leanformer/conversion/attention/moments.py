"""Moments of a layer's input, under which the errors of a fit are measured."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from leanformer.conversion.attention import fits, rotary_fits
from leanformer.conversion.attention.layer_maps import HeadMaps
from leanformer.conversion.attention.statistics import Statistics

RIDGE = 1e-4
"""The fraction of the mean variance that each direction gains; what a sample does not show still counts a little."""


class Moments(NamedTuple):
    """Mean m and covariance of x; with rotary positions also the second moment of x with a 1 appended, since biases are
    then rotated, too, and no mean drops out of a row of scores."""

    mean: Tensor  # D
    metric: Tensor  # D D
    bordered: Tensor | None  # D+1 D+1
    sampled: bool  # whether they are those of a text

    @classmethod
    def of(cls, known: Statistics, *, centred: bool, rotary: bool) -> Self:
        """`centred`: the layer has biases, without which nothing can be centred."""
        ridge = RIDGE * float(known.second.diagonal().mean())
        second = known.second + ridge * torch.eye(len(known.mean), dtype=torch.float64)
        mean = known.mean if centred else torch.zeros_like(known.mean)
        metric = second - torch.outer(mean, mean)
        if not rotary:
            return cls(mean, metric, None, known.sampled)
        border, one = known.mean[:, None], torch.ones(1, 1, dtype=torch.float64)
        bordered = torch.cat((torch.cat((second, border), 1), torch.cat((border.T, one), 1)))
        return cls(mean, metric, bordered, known.sampled)

    def problem(self, head: HeadMaps, scale: float, values: bool) -> Any:
        """What a fit is asked, of the kind that its table takes; `values`: a tied map is to be the value's, too."""
        if self.bordered is None:
            return fits.Problem(head, self.mean, self.metric, scale, values)
        return rotary_fits.RotaryProblem(head, self.mean, self.metric, self.bordered, scale)

    def logits_error(self, old: HeadMaps, new: HeadMaps) -> float:
        if self.bordered is None:
            return fits.logits_error(old, new, self.mean, self.metric)
        return rotary_fits.logits_error(old, new, self.bordered)
