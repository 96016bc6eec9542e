"""Poorer training data, as functions of (seed, example): wrong labels, and few examples.

    label_i' = (label_i + 1 + k_i) mod C   if u_i < share, else label_i

with u_i uniform in [0, 1) and k_i in range(C - 1), functions of (seed, i). So a wrong label is never the right one, each of the other C - 1 is equally likely, and what is wrong at a share of 0.2
is wrong in the same way at 0.4. Few examples are those of `Examples.subset`, the first of a permutation: 100 of them
are among the 1,000.
"""

import numpy as np
from numpy.typing import NDArray

from leanformer.data.examples import Examples
from leanformer.data.randomness import below, random_bits, uniform
from leanformer.robustness.noise import require_share

FLIP, CLASS = range(2)
"""What an example's random numbers are for."""


def mislabelled(examples: Examples, classes: int, share: float, seed: int) -> Examples:
    """Each label is wrong with probability `share`."""
    require_share("label noise", share)
    return examples._replace(labels=flipped(examples.labels, classes, share, seed))


def flipped(labels: NDArray[np.int64], classes: int, share: float, seed: int) -> NDArray[np.int64]:
    """(N,)"""
    example = np.arange(len(labels))
    shift = 1 + below(random_bits(seed, CLASS, example), classes - 1)
    return np.where(uniform(random_bits(seed, FLIP, example)) < share, (labels + shift) % classes, labels)
