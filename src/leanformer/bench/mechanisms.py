"""`leanformer bench mechanisms`: training, inference and memory of mechanisms relative to `dot_product`.

At every size and length all mechanisms are built at once and take turns (`rounds.py`). Speed is the baseline's time
over the mechanism's, in the same round. The ratio of their FLOPs is given, too: it would be the speed if only matrix
products took time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from leanformer.bench import memory, peak
from leanformer.bench.rounds import alternate, many_graphs, ratio, repeats, spread
from leanformer.bench.sizes import config, settings
from leanformer.bench.step import Model, costs, scored
from leanformer.comparison.variants import Variant
from leanformer.training.machine.timing import seconds

KINDS: dict[str, Callable[[Model], Callable[[], None]]] = {
    "training": lambda model: model.train,
    "inference": lambda model: model.infer,
    "inference_padded": lambda model: model.infer_padded,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: `tokens` per batch, and further settings of [model] in `model`."""

    variants: Sequence[Variant]
    sizes: Sequence[str]
    lengths: Sequence[int]
    tokens: int
    dropout: float
    device: torch.device
    dtype: torch.dtype | None
    compile: bool = False
    rounds: int = 7
    model: dict[str, Any] = field(default_factory=dict)
    plugin: Path | None = None

    def __post_init__(self) -> None:
        for size in self.sizes:
            for length in self.lengths:
                for variant in self.variants:
                    config(self.settings(size, length, variant))  # reports a wrong setting before anything is measured

    def settings(self, size: str, length: int, variant: Variant) -> dict[str, Any]:
        overrides = {
            "attention": variant.mechanism,
            "attention_options": variant.options,
            **self.model,
            **variant.model,
        }
        return settings(size, length, self.dropout, overrides)

    def batch(self, length: int) -> int:
        return max(1, self.tokens // length)

    @property
    def turns(self) -> int:
        return len(self.sizes) * len(self.lengths) * len(KINDS) * self.rounds * len(self.variants)


def measure(plan: Plan, tick: Callable[[], None]) -> dict[str, Any]:
    """Returns `machine`, `rows` (one per size, length and mechanism) and `notes`; calls `tick` after every turn."""
    machine = peak.machine(plan.device, plan.dtype)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    with many_graphs():
        for size in plan.sizes:
            for length in plan.lengths:
                rows += _point(plan, size, length, machine, tick, notes)
    return {"machine": machine, "rows": rows, "notes": notes}


def _point(
    plan: Plan, size: str, length: int, machine: dict[str, float], tick: Callable[[], None], notes: list[str]
) -> list[dict[str, Any]]:
    configs = {v.label: config(plan.settings(size, length, v)) for v in plan.variants}
    baseline, batch = plan.variants[0].label, plan.batch(length)
    sizes, known = (batch * length, batch * scored(length), plan.device, plan.dtype), dict[peak.Product, float]()
    own = {label: peak.model(made, *sizes, known) for label, made in configs.items()}
    if plan.compile:
        torch.compiler.reset()
    models = {}
    for label, made in configs.items():
        try:
            models[label] = Model(made, length, batch, plan.device, plan.dtype, plan.compile)
            for step_of in KINDS.values():
                step_of(models[label])()
        except torch.OutOfMemoryError:
            models.pop(label, None)
            notes.append(f"{label}: not enough memory at size {size}, length {length}, {batch} sequences a batch")
    if baseline not in models:
        raise ValueError(f"{notes[-1]}: lower --tokens")
    rows = {
        label: {
            "attention": label,
            "size": size,
            "width": configs[label].hidden_size,
            "length": length,
            "batch": batch,
            **costs(configs[label], length),
            "peak": own[label],
        }
        for label in models
    }
    for kind, step_of in KINDS.items():
        steps = {label: step_of(model) for label, model in models.items()}
        times = {label: repeats(step, plan.device) for label, step in steps.items()}
        turns = {label: _turn(step, times[label], plan.device) for label, step in steps.items()}
        taken = alternate(turns, plan.rounds, tick)
        for label, row in rows.items():
            flops = row["flops_per_token"][kind.removesuffix("_padded")]
            base = rows[baseline]["flops_per_token"][kind.removesuffix("_padded")]
            row[kind] = {
                "seconds": spread(taken[label]),
                "speed": ratio(taken[baseline], taken[label]),
                "speed_by_flops": base / flops,
                "path": models[label].path(),
            }
            if kind != "inference_padded":  # padding is no useful work
                rates = [flops * batch * length / second for second in taken[label]]
                row[kind]["share_of_square"] = peak.share(rates, machine["square"])
                row[kind]["share_of_model"] = peak.share(rates, own[label]["model"])
    for variant in plan.variants:
        if variant.label in models:
            rows[variant.label]["peak_bytes"] = _peak_bytes(plan, size, length, variant, models[variant.label])
    return list(rows.values())


def _turn(step: Callable[[], None], times: int, device: torch.device) -> Callable[[], float]:
    return lambda: seconds(step, times, device)


def _peak_bytes(plan: Plan, size: str, length: int, variant: Variant, model: Model) -> int | None:
    if plan.device.type == "cuda":
        return memory.on_cuda(model)
    bf16, threads = plan.dtype is not None, torch.get_num_threads()
    given = plan.settings(size, length, variant)
    return memory.on_cpu(given, length, plan.batch(length), bf16, threads, plan.plugin)
