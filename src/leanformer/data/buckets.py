"""Batches of examples of unequal length.

A batch is padded to its longest example, so a batch of equal lengths has no padding. Training reads the epochs as one
endless stream, each epoch in its own order, and cuts it into pools of `POOL` batches. A pool is sorted by length and
cut into batches, which are shuffled: there is nearly as little padding as with complete sorting, in nearly random
order. Every batch is full, every example is read equally often, and the rows of a step are a function of (lengths,
seed, step), equal for every mechanism and for a repeated run.

Inference has no order to keep: examples are sorted by length, and a batch ends where its tokens, padding included, or
its padding alone would exceed a budget. Short texts then meet in large batches and long texts in small ones, so that
time per token and memory hardly depend on the lengths; and few texts of many lengths are not padded to the longest.
B batch.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data.order import permutation

POOL = 16


class Budget(NamedTuple):
    """What a batch of inference holds at most."""

    tokens: int
    """Size times the longest example."""
    padding: int
    """Tokens of these that are padding. The best is about what the fixed time of a batch would compute: it is better to
    start another batch than to compute more padding."""


CPU = Budget(2048, 64)
"""6 layers of 384 in float32 on one core (AVX-512): a batch costs as much as 50 tokens, and from 500 tokens on the time
per token of a batch does not depend on its size."""
OTHER = Budget(32_768, 4096)
"""A GPU has to be filled: as many tokens as 64 texts of 512. Not measured."""


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
    """Returns batches of equal size with every example once, shortest first."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def budget_on(device: str) -> Budget:
    """Returns the budget for a type of device."""
    return CPU if device == "cpu" else OTHER


def inference_batches(lengths: NDArray[np.int64], budget: Budget = CPU) -> list[NDArray[np.int64]]:
    """Returns batches within the budget with every example once, shortest first; an example of more tokens is a batch
    of its own."""
    order = np.argsort(lengths, kind="stable")
    sizes = np.maximum(lengths[order], 1)
    batches, start = [], 0
    while start < len(order):
        ahead = sizes[start : start + budget.tokens]
        padded = np.arange(1, len(ahead) + 1) * ahead  # of a batch that ends here; so is the padding, and both grow
        padding = padded - np.cumsum(ahead)
        fits = int(((padded <= budget.tokens) & (padding <= budget.padding)).sum())
        end = start + max(1, fits)
        batches.append(order[start:end])
        start = end
    return batches
