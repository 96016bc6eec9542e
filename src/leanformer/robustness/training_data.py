"""Poorer training data, as functions of (seed, example): wrong labels, few examples, and rare classes.

    label_i' = (label_i + 1 + k_i) mod C   if u_i < share, else label_i

with u_i uniform in [0, 1) and k_i in range(C - 1), functions of (seed, i). So a wrong label is never the right one,
each of the other C - 1 is equally likely, and what is wrong at a share of 0.2 is wrong in the same way at 0.4. Few
examples are those of `Examples.subset`, the first of a permutation: 100 of them are among the 1,000. Rare classes:

    class c of C keeps the first n_c r^(-c / (C - 1)) of its n_c examples, at least one, in the order of random numbers

so that the last class keeps one in r = `ratio` (as in long-tailed CIFAR: Cui et al., 2019), and more imbalance keeps
examples that less of it keeps.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from leanformer.data.examples import Examples
from leanformer.data.randomness import below, random_bits, uniform
from leanformer.robustness.noise import require_share
from leanformer.settings import FinetuningSettings

LEAST_STEPS = 100
"""A small training set is read for as many epochs as make so many steps, or as many as all the data get if fewer: the
same few epochs would be so few steps that the model has not moved (Mosbach et al., 2021)."""
FLIP, CLASS, KEEP = range(3)
"""What an example's random numbers are for."""


def mislabelled(examples: Examples, classes: int, share: float, seed: int) -> Examples:
    """Each label is wrong with probability `share`."""
    require_share("label noise", share)
    return examples._replace(labels=flipped(examples.labels, classes, share, seed))


def flipped(labels: NDArray[np.int64], classes: int, share: float, seed: int) -> NDArray[np.int64]:
    """Returns whether each label is flipped, (N,)."""
    example = np.arange(len(labels))
    shift = 1 + below(random_bits(seed, CLASS, example), classes - 1)
    return np.where(uniform(random_bits(seed, FLIP, example)) < share, (labels + shift) % classes, labels)


def imbalanced(examples: Examples, classes: int, ratio: float, seed: int) -> Examples:
    """The examples that are kept, in their order; ValueError unless `ratio` is at least 1."""
    if ratio < 1:
        raise ValueError(f"an imbalance of {ratio:g}: it is how many times rarer the last class gets, at least 1")
    order = np.argsort(random_bits(seed, KEEP, np.arange(len(examples.labels))), kind="stable")
    kept = np.zeros(len(order), dtype=bool)
    for label in range(classes):
        rows = order[examples.labels[order] == label]
        kept[rows[: max(1, round(len(rows) * ratio ** (-label / max(1, classes - 1))))]] = True
    return examples.where(kept)


def few_settings(settings: FinetuningSettings, few: int, whole: int) -> FinetuningSettings:
    """Returns settings with more epochs of `few` examples, see `LEAST_STEPS`."""
    steps = min(LEAST_STEPS, math.ceil(settings.epochs * whole / settings.batch_size))
    return replace(settings, epochs=max(settings.epochs, steps * settings.batch_size / few))
