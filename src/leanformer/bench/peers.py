"""`leanformer bench peers`: tokens per second of pre-training, compared with other projects on one machine.

All candidates train a masked LM of the same sizes on the same sequences with the same masks, batch, dropout and
clipping, each in a process of its own (`processes.py`). leanformer's process is set up as by its commands
(`prepare_cpu`), a peer's as by default for its users or, if the peers are `tuned`, as leanformer's. Ratios of the
tokens per second are taken within a round. `share_of_square` and `share_of_model` are useful FLOPs over the machine's
peaks (`peak.py`). Useful FLOPs are the ledger's, whose head predicts only the masked positions; peers are counted as
`dot_product` of the same sizes, whatever else they compute.
"""

import gc
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from leanformer.attention import load_plugin
from leanformer.bench import ours, peak, plain_loop, trainer
from leanformer.bench.entry import Benchmark
from leanformer.bench.ours import Own
from leanformer.bench.processes import Process
from leanformer.bench.rounds import alternate, many_graphs, ratio
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.settings import TrainingSettings
from leanformer.spelling import suggest
from leanformer.training.machine.hardware import prepare_cpu

Turn = Callable[[], float]

PEERS: dict[str, Callable[[Benchmark, bool], float]] = {
    "bert": lambda benchmark, bf16: trainer.turn(benchmark, trainer.bert, bf16),
    "modernbert": lambda benchmark, bf16: trainer.turn(benchmark, trainer.modernbert, bf16),
    "modernbert-sparse": lambda benchmark, bf16: trainer.turn(benchmark, trainer.modernbert_sparse, bf16),
    "x-transformers": plain_loop.turn,
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The setup of the processes; `plugin` holds mechanisms of leanformer."""

    threads: int | None = None
    tuned: bool = False
    plugin: Path | None = None


def check(peers: list[str]) -> None:
    for name in peers:
        if name not in PEERS:
            raise ValueError(f"--peers {name}: {suggest(name, PEERS)}")


def measure(
    benchmark: Benchmark,
    peers: list[str],
    own: Mapping[str, Own],
    precisions: list[str],
    rounds: int,
    tick: Callable[[], None],
    setup: Setup,
) -> dict[str, Any]:
    """Returns `machine`, `candidates` and `notes`; `own` are leanformer's by label. A peer that fails gives a note."""
    with ExitStack() as processes:

        def process(entry: str | Own, bf16: bool) -> Process:
            return processes.enter_context(closing(Process(candidate, entry, benchmark, bf16, setup)))

        return _measure(benchmark, peers, own, precisions, rounds, tick, process)


def candidate(entry: str | Own, benchmark: Benchmark, bf16: bool, setup: Setup) -> Callable[[int], float]:
    """Returns a function that gives the seconds of so many counted steps, in the process that calls this."""
    if setup.tuned or isinstance(entry, Own):
        prepare_cpu(setup.threads)
    elif setup.threads is not None:
        torch.set_num_threads(setup.threads)
    load_plugin(setup.plugin)

    def turn(steps: int) -> float:
        now = replace(benchmark, steps=steps)
        with many_graphs():
            seconds = ours.turn(now, entry) if isinstance(entry, Own) else PEERS[entry](now, bf16)
        gc.collect()  # graphs stay, so that the next turn does not compile them again
        if benchmark.device.type == "cuda":
            torch.cuda.empty_cache()
        return seconds

    return turn


def _measure(
    benchmark: Benchmark,
    peers: list[str],
    own: Mapping[str, Own],
    precisions: list[str],
    rounds: int,
    tick: Callable[[], None],
    process: Callable[[str | Own, bool], Process],
) -> dict[str, Any]:
    notes: list[str] = []
    turns: dict[str, Turn] = {}
    configs = {label: one.config(benchmark) for label, one in own.items()}
    plain = Own(model={}, training=TrainingSettings(), bf16=False).config(benchmark)
    machine, tops = _machine(benchmark, plain, configs, precisions)  # before any other process could slow it down
    for name in peers:
        if name == "x-transformers" and (reason := plain_loop.lacking()):
            notes.append(f"{name}: {reason}")
            continue
        for precision in precisions:
            candidate_process = process(name, precision == "bf16")
            try:
                candidate_process(1)
            except RuntimeError as error:
                notes.append(f"{name} {precision}: left out, it fails ({error})")
            else:
                turns[f"{name} {precision}"] = partial(candidate_process, benchmark.steps)
    rivals = list(turns)
    for label, one in own.items():
        candidate_process = process(one, one.bf16)
        candidate_process(1)  # so that every process is ready and idle in the first round
        turns[label] = partial(candidate_process, benchmark.steps)
    taken = alternate(turns, rounds, tick)
    rates = {name: [benchmark.tokens / seconds for seconds in values] for name, values in taken.items()}
    candidates = []
    for name, values in rates.items():
        counts = ledger(configs.get(name, plain), benchmark.length, benchmark.masked)
        precision = name.rpartition(" ")[2]
        useful = counts["flops_per_token"]["training"]
        achieved = [useful * value for value in values]
        candidates.append(
            {
                "name": name,
                "peer": name in rivals,
                "precision": precision,
                "parameters": None if name in rivals else counts["parameters"]["total"],
                "useful_flops_per_token": useful,
                "tokens_per_second": values,
                "share_of_square": peak.share(achieved, machine[precision]["square"]),
                "share_of_model": peak.share(achieved, tops.get(name, machine[precision]["model"])),
                "speed": {other: ratio(values, rates[other]) for other in rates if other != name},
            }
        )
    return {"machine": machine, "candidates": candidates, "notes": notes}


def _machine(
    benchmark: Benchmark, plain: LeanformerConfig, configs: Mapping[str, LeanformerConfig], precisions: list[str]
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """Returns the peaks by precision, with those of the `plain` model, and the peak of each of `configs`."""
    tokens, scored = benchmark.batch * benchmark.length, benchmark.batch * benchmark.masked
    machine, tops = {}, {}
    for precision in precisions:
        dtype, known = torch.bfloat16 if precision == "bf16" else None, dict[peak.Product, float]()
        sizes = (tokens, scored, benchmark.device, dtype, known)
        machine[precision] = peak.machine(benchmark.device, dtype) | peak.model(plain, *sizes)
        for name, config in configs.items():
            if name.rpartition(" ")[2] == precision:
                tops[name] = peak.model(config, *sizes)["model"]
    return machine, tops
