"""`leanformer bench inference`: the precisions of inference beside float32, mechanism by mechanism.

    fp32         the model as it is
    autocast     its weights, cast to bf16 at every call
    bf16, int8   the copies of `for_inference`

Inference is the bare encoder over a batch of full sequences. The precisions of a mechanism take turns (`rounds.py`);
speed is the time of fp32 over a precision's own, in the same round. On a CPU that is the time of the process on all
cores, so what else the machine does tells little. `deviation` is |states - those of fp32| / |those of fp32| (Euclidean
norms), of untrained weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from leanformer.bench.rounds import alternate, ratio, repeats, spread, turn
from leanformer.bench.sizes import config, settings
from leanformer.comparison.variants import Variant
from leanformer.models import LeanformerModel
from leanformer.models.inference import PRECISIONS, for_inference

KNOWN = ("fp32", "autocast", *PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tokens` are a batch's, `model` holds settings of [model] on top of the sizes'; `precisions` begin with fp32."""

    variants: Sequence[Variant]
    precisions: Sequence[str]
    sizes: Sequence[str]
    lengths: Sequence[int]
    tokens: int
    device: torch.device
    rounds: int
    model: dict[str, Any]

    @property
    def turns(self) -> int:
        return len(self.sizes) * len(self.lengths) * len(self.variants) * self.rounds * len(self.precisions)


def measure(plan: Plan, tick: Callable[[], None]) -> dict[str, Any]:
    """`rows`, a size, a length, a mechanism and a precision each, and `notes`; `tick` is called after every turn."""
    places = [(size, length, variant) for size in plan.sizes for length in plan.lengths for variant in plan.variants]
    return {"rows": [row for place in places for row in _rows(plan, *place, tick)], "notes": []}


@torch.inference_mode()
def _rows(plan: Plan, size: str, length: int, variant: Variant, tick: Callable[[], None]) -> list[dict[str, Any]]:
    own = {"attention": variant.mechanism, "attention_options": variant.options, **plan.model, **variant.model}
    torch.manual_seed(1)
    model = LeanformerModel(config(settings(size, length, 0.0, own)), add_pooling_layer=False).eval()
    nn.Module.to(model, plan.device)
    batch = max(1, plan.tokens // length)
    ids = torch.randint(5, model.config.vocab_size, (batch, length)).to(plan.device)
    steps = {precision: _step(model, precision, ids) for precision in plan.precisions}
    states = {precision: step().float() for precision, step in steps.items()}
    times = {precision: repeats(step, plan.device) for precision, step in steps.items()}
    turns = {precision: turn(step, times[precision], plan.device) for precision, step in steps.items()}
    taken = alternate(turns, plan.rounds, tick)
    place = {"attention": variant.label, "size": size, "width": model.config.hidden_size, "length": length}
    return [
        {
            **place,
            "batch": batch,
            "precision": precision,
            "seconds": spread(taken[precision]),
            "speed": ratio(taken["fp32"], taken[precision]),
            "deviation": float((states[precision] - states["fp32"]).norm() / states["fp32"].norm()),
        }
        for precision in plan.precisions
    ]


def _step(model: LeanformerModel, precision: str, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    made = for_inference(model, precision) if precision in PRECISIONS else model

    def step() -> torch.Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == "autocast"):
            return made(ids).last_hidden_state

    return step
