"""The training of a rival: a plain loop of PyTorch with the data order and the masks of leanformer's runs.

A step reads B sequences of L tokens, or fewer while the rival's batch grows. It makes the logits of the masked
positions alone, takes the mean of their cross-entropy, clips the gradient's norm if the rival does, and sets the rate
from the share of the steps that are done. Products are in bf16 where leanformer's are.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.race.rivals import Rival
from leanformer.bench.entry import Benchmark
from leanformer.data.corpus import Corpus
from leanformer.data.masking import count, mask
from leanformer.data.order import permutation
from leanformer.settings import read_settings
from leanformer.training.machine.hardware import autocast_dtype
from leanformer.training.objectives.masked_lm import MaskedLM

VALIDATION = 512
"""Held-out sequences, the same and with the same masks for all."""


@dataclass(frozen=True)
class Trained:
    model: nn.Module
    tokens: int
    seconds: float
    """Of the steps after the first quarter."""


def train(rival: Rival, benchmark: Benchmark, rate: float, seed: int, steps: int) -> Trained:
    torch.manual_seed(seed)
    model = rival.build(benchmark).to(benchmark.device).train()
    optimizers = rival.optimizers(model, rate)
    peaks = [[group["lr"] for group in each.param_groups] for each in optimizers]
    dtype = autocast_dtype("auto", benchmark.device)
    tokens, began = 0, 0.0
    for step, batch in enumerate(batches(rival, benchmark, seed, steps)):
        if step == steps // 4:
            began = time.perf_counter()
        for each, highest in zip(optimizers, peaks, strict=True):
            for group, peak in zip(each.param_groups, highest, strict=True):
                group["lr"] = peak * rival.rate((step + 1) / steps)
            each.zero_grad()
        with torch.autocast(benchmark.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            loss = masked_loss(rival, model, batch)
        loss.backward()
        if rival.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), rival.clip)
        for each in optimizers:
            each.step()
        tokens += batch["input_ids"].numel()
    return Trained(model, tokens, time.perf_counter() - began)


def batches(rival: Rival, benchmark: Benchmark, seed: int, steps: int) -> Iterator[dict[str, Tensor]]:
    """Yields `input_ids` (B, L) with masks, `positions` (N,) in the flat batch and `labels` (N,)."""
    corpus, length, read = benchmark.corpus, benchmark.length, 0
    sequences, masked = corpus.train.sequences(length), count(rival.mask_rate, length)
    for step in range(steps):
        share = min(1.0, rival.first_batch + (1 - rival.first_batch) * 2 * step / steps)
        size = max(1, round(benchmark.batch * share))
        epochs, places = np.divmod(np.arange(read, read + size), sequences)
        read += size
        parts = []
        for epoch in np.unique(epochs).tolist():
            ids = permutation(places[epochs == epoch], sequences, seed, epoch)
            rows = corpus.train.batch(ids.tolist(), length)
            parts.append(mask(rows, ids, seed=seed, epoch=epoch, count=masked, vocabulary=corpus.vocabulary))
        corrupted, positions, labels = (torch.from_numpy(np.concatenate(each)) for each in zip(*parts, strict=True))
        flat = positions + length * torch.arange(size)[:, None]
        given = {"input_ids": corrupted, "positions": flat.flatten(), "labels": labels.flatten()}
        yield {key: value.to(benchmark.device) for key, value in given.items()}


def masked_loss(rival: Rival, model: nn.Module, batch: dict[str, Tensor], reduction: str = "mean") -> Tensor:
    scores = rival.scores(model, batch["input_ids"], batch["positions"])
    return cross_entropy(scores.float(), batch["labels"], reduction=reduction)


@torch.inference_mode()
def validation_loss(rival: Rival, model: nn.Module, corpus: Corpus, length: int) -> float:
    """Returns the loss in nats on the validation masks of leanformer's runs, in float32."""
    settings = replace(
        read_settings(None, ()).training, sequence_length=length, validation_sequences=VALIDATION, mask_rate=0.15
    )
    objective, total, targets = MaskedLM(corpus, settings), 0.0, 0
    for batch in objective.validation_batches(0, 1):
        flat = batch["masked_positions"] + length * torch.arange(len(batch["input_ids"]))[:, None]
        given = {"input_ids": batch["input_ids"], "positions": flat.flatten(), "labels": batch["labels"].flatten()}
        total += float(masked_loss(rival, model.eval(), given, "sum"))
        targets += objective.num_targets(batch)
    return total / targets


def turn(benchmark: Benchmark, rival: Rival) -> Callable[[int], float]:
    """Returns a function that gives the seconds of one step, averaged over so many after a quarter as many."""

    def seconds(steps: int) -> float:
        whole = replace(rival, first_batch=1.0)  # so that a step reads a whole batch
        return train(whole, benchmark, rival.rates[0], 1, steps + steps // 3).seconds / steps

    return seconds
