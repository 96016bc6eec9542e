"""What every candidate of a benchmark against peers is given, and how its turn is clocked.

A turn is a training from new weights. Its first quarter is not counted: it compiles, fills caches and finds its memory.
Example g of a turn stands at place g mod n of epoch g div n, in the order and with the masks that leanformer gives to
seed 1: all candidates read the same tokens and predict the same positions.
"""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from leanformer.data.corpus import Corpus
from leanformer.data.masking import count, mask
from leanformer.data.order import permutation
from leanformer.training.machine.timing import synchronise

SEED, RATE, CLIP = 1, 1e-4, 1.0
"""Of the order and the masks; learning rate and clipping of all candidates, which no step's time depends on."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """`steps` are counted, a quarter as many before them are not; `vocab_size` may be more than the data's."""

    corpus: Corpus
    sizes: dict[str, Any]
    vocab_size: int
    length: int
    batch: int
    dropout: float
    mask_rate: float
    steps: int
    device: torch.device
    compile: bool = False

    def __post_init__(self) -> None:
        if self.all_steps % self.warm_up:
            raise ValueError(f"steps = {self.steps}: must be a multiple of 4, since a quarter as many are not counted")

    @property
    def warm_up(self) -> int:
        return max(1, self.steps // 4)

    @property
    def all_steps(self) -> int:
        return self.warm_up + self.steps

    @property
    def masked(self) -> int:
        """Predictions of a sequence."""
        return count(self.mask_rate, self.length)

    @property
    def tokens(self) -> int:
        """Counted ones of a turn."""
        return self.steps * self.batch * self.length

    @cached_property
    def examples(self) -> "Examples":
        return Examples(self)


class Examples(Dataset):
    """The turn's sequences: `input_ids` (L,) unmasked, and `example`, their (epoch, id)."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        n = benchmark.corpus.train.sequences(benchmark.length)
        epochs, places = np.divmod(np.arange(benchmark.all_steps * benchmark.batch), n)
        parts = [permutation(places[epochs == e], n, SEED, e) for e in np.unique(epochs).tolist()]
        self.epochs, self.ids = epochs, np.concatenate(parts)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch, example = int(self.epochs[index]), int(self.ids[index])
        row = self.benchmark.corpus.train.batch([example], self.benchmark.length)[0]
        return {"input_ids": row, "example": (epoch, example)}


def masked(
    tokens: NDArray[np.int64], examples: list[tuple[int, int]], benchmark: Benchmark
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model reads and the labels, both (B, L), -100 where nothing is asked, of these (epoch, id)."""
    epochs, ids = np.array(examples).T
    corrupted, labels = tokens.copy(), np.full_like(tokens, -100)
    for epoch in np.unique(epochs).tolist():
        rows = np.flatnonzero(epochs == epoch)
        vocabulary = benchmark.corpus.vocabulary
        of = mask(tokens[rows], ids[rows], seed=SEED, epoch=epoch, count=benchmark.masked, vocabulary=vocabulary)
        corrupted[rows] = of.corrupted
        labels[rows[:, None], of.positions] = of.labels
    return torch.from_numpy(corrupted), torch.from_numpy(labels)


class Clock:
    """Seconds between the end of the warm-up and the end of the last step, both on a device that has come to rest."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark, self.start, self.seconds = benchmark, 0.0, 0.0

    def step(self, done: int) -> None:
        """After every step."""
        if done == self.benchmark.warm_up:
            synchronise(self.benchmark.device)
            self.start = time.perf_counter()
        elif done == self.benchmark.all_steps:
            synchronise(self.benchmark.device)
            self.seconds = time.perf_counter() - self.start
