"""`leanformer bench mechanisms`: training, inference and memory of mechanisms relative to `dot_product`.

At every size and length all mechanisms are built at once and take turns (`rounds.py`). Speed is the baseline's time
over the mechanism's, in the same round. The ratio of their FLOPs is given, too: it would be the speed if only matrix
products took time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from leanformer.bench import memory, peak
from leanformer.bench.rounds import alternate, many_graphs, ratio, repeats, spread
from leanformer.bench.step import Model, costs, scored
from leanformer.bench.sweep import Sweep
from leanformer.comparison.variants import Variant
from leanformer.training.machine.timing import seconds

KINDS: dict[str, Callable[[Model], Callable[[], None]]] = {
    "training": lambda model: model.train,
    "inference": lambda model: model.infer,
    "inference_padded": lambda model: model.infer_padded,
}


@dataclass(frozen=True, kw_only=True)
class Plan(Sweep):
    """The arms, and how their steps are made."""

    dtype: torch.dtype | None
    compile: bool = False
    plugin: Path | None = None

    @property
    def turns(self) -> int:
        return len(KINDS) * super().turns

    def record(self) -> dict[str, Any]:
        precision = "fp32" if self.dtype is None else "bf16"
        return super().record() | {"dropout": self.dropout, "precision": precision, "compile": self.compile}


def measure(plan: Plan, tick: Callable[[], None]) -> dict[str, Any]:
    """Returns `machine`, `rows` (one per size, length and mechanism) and `notes`; calls `tick` after every turn."""
    machine = peak.machine(plan.device, plan.dtype)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    with many_graphs():
        for point in plan.points:
            rows += _point(plan, *point, machine, tick, notes)
    return {"machine": machine, "rows": rows, "notes": notes}


def _point(
    plan: Plan, size: str, length: int, machine: dict[str, float], tick: Callable[[], None], notes: list[str]
) -> list[dict[str, Any]]:
    configs = {v.label: plan.config(size, length, v) for v in plan.variants}
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
        turns = {label: partial(seconds, step, times[label], plan.device) for label, step in steps.items()}
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


def _peak_bytes(plan: Plan, size: str, length: int, variant: Variant, model: Model) -> int | None:
    if plan.device.type == "cuda":
        return memory.on_cuda(model)
    bf16, threads = plan.dtype is not None, torch.get_num_threads()
    given = plan.settings(size, length, variant)
    return memory.on_cpu(given, length, plan.batch(length), bf16, threads, plan.plugin)
