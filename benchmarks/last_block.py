"""The processor time of a training step whose last block computes all tokens, over that of the usual step.

    python -m benchmarks.last_block --out docs/results/performance/last-block-cpu.json

Both candidates are one model and one batch, and take turns. A hook that does nothing makes the second compute the whole
last block (`models/encoder.py`); it can be had in no other way, since loss and gradients are equal. The ratio is the
time of the whole block over the time of the other, within a round.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from leanformer import files
from leanformer.bench import output, sizes
from leanformer.bench.rounds import alternate, ratio, turn
from leanformer.bench.step import Model
from leanformer.data.masking import count
from leanformer.models.cost import ledger
from leanformer.training.machine.hardware import prepare_cpu

LENGTH, BATCH, VOCABULARY, DROPOUT = 128, 32, 8192, 0.1
TURNS = 3
"""Steps of a turn for two layers of 128; a wider model takes one."""


def cases() -> Iterator[dict[str, Any]]:
    for size, rate, precision in product(("tiny", "mini"), (0.15, 0.3), ("fp32", "bf16")):
        yield {"attention": "dot_product", "size": size, "mlm_probability": rate, "precision": precision}
    for attention in ("shared", "random", "dense"):
        yield {"attention": attention, "size": "mini", "mlm_probability": 0.15, "precision": "fp32"}


def measure(case: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Returns the case with `speed`, and `by_flops`, the ratio of the matrix products alone."""
    own = {"attention": case["attention"], "vocab_size": VOCABULARY}
    config = sizes.config(sizes.settings(case["size"], LENGTH, DROPOUT, own))
    cpu, dtype = torch.device("cpu"), torch.bfloat16 if case["precision"] == "bf16" else None
    model = Model(config, LENGTH, BATCH, cpu, dtype)
    number = count(case["mlm_probability"], LENGTH)
    generator = torch.Generator().manual_seed(2)
    model.positions = torch.rand(BATCH, LENGTH, generator=generator).argsort(-1)[:, :number].sort(-1)[0]
    model.labels = torch.randint(5, VOCABULARY, (BATCH, number), generator=generator)

    def whole() -> None:
        hook = model.model.encoder.layers[-1].register_forward_hook(lambda *_: None)
        model.train()
        hook.remove()

    for step in (model.train, whole):
        step()
    times = TURNS if case["size"] == "tiny" else 1
    made = partial(turn, times=times, device=cpu)
    seconds = alternate({"some": made(model.train), "whole": made(whole)}, rounds, lambda: None)
    counts = [ledger(config, LENGTH, each)["flops_per_token"]["training"] for each in (number, LENGTH)]
    head = 6 * config.hidden_size * (config.hidden_size + VOCABULARY) * (LENGTH - number) / LENGTH
    by_flops = (counts[1] - head) / counts[0]
    return {**case, "speed": ratio(seconds["whole"], seconds["some"]), "by_flops": by_flops, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    prepare_cpu(1)
    rows, settings = [], {"length": LENGTH, "batch": BATCH, "vocabulary": VOCABULARY, "dropout": DROPOUT, **vars(asked)}
    del settings["out"]
    for case in cases():
        rows.append(measure(case, asked.rounds))
        shown = rows[-1]["speed"]
        print(*case.values(), f"{shown['median']:.3f} ({shown['low']:.3f} to {shown['high']:.3f})", flush=True)
        record = output.record("last_block", {"rows": rows}, settings, torch.device("cpu"), None)
        files.write_json(asked.out, record)


if __name__ == "__main__":
    main()
