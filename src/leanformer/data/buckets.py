"""Batches of examples of unequal length.

A batch is padded to its longest example, so a batch of equal lengths has no padding. Training reads the epochs as one
endless stream, each epoch in its own order, and cuts it into pools of `POOL` batches. A pool is sorted by length and
cut into batches, which are shuffled: there is nearly as little padding as with complete sorting, in nearly random
order. Every batch is full, every example is read equally often, and the rows of a step are a function of (lengths,
seed, step), equal for every mechanism and for a repeated run. B batch.
"""

import numpy as np
from numpy.typing import NDArray

from leanformer.data.order import permutation

POOL = 16


def training_rows(
    lengths: NDArray[np.int64], batch_size: int, steps: int | None, seed: int, step: int
) -> NDArray[np.int64]:
    """Returns (B,), the examples of this step out of `steps` (None: endless); the last pool may hold fewer batches."""
    size, first = len(lengths), step - step % POOL
    batches = POOL if steps is None else min(POOL, steps - first)
    places = np.arange(first * batch_size, (first + batches) * batch_size)
    pool = np.empty_like(places)
    for epoch in np.unique(places // size):
        within = places // size == epoch
        pool[within] = permutation(places[within] % size, size, seed, int(epoch))
    pool = pool[np.argsort(lengths[pool], kind="stable")]
    batch = int(permutation(step - first, batches, seed, -1 - first))  # negative "epochs": a stream of its own
    return pool[batch * batch_size : (batch + 1) * batch_size]


def evaluation_batches(lengths: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Returns batches with every example once, shortest first."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
