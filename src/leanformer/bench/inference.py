"""`leanformer bench inference`: the precisions of inference relative to float32, for each mechanism.

    fp32         the model without changes
    autocast     the weights are cast to bf16 at every call
    bf16, int8   the copies of `for_inference`

Inference is the encoder without head over a batch of full sequences. The precisions of a mechanism take turns
(`rounds.py`); speed is the time of fp32 over that of a precision, in the same round. On a CPU it is the process's time
on all cores, so other programs on the machine have little effect. `deviation` is |states - those of fp32| / |those of
fp32| (Euclidean norms), with untrained weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from leanformer.bench.rounds import alternate, ratio, repeats, spread, turn
from leanformer.bench.sweep import Sweep
from leanformer.comparison.variants import Variant
from leanformer.models import LeanformerModel
from leanformer.models.inference import PRECISIONS, for_inference

KNOWN = ("fp32", "autocast", *PRECISIONS)


def measure(sweep: Sweep, precisions: Sequence[str], tick: Callable[[], None]) -> dict[str, Any]:
    """Returns `rows` (one per size, length, mechanism and precision, fp32 first) and `notes`; calls `tick` after every
    turn."""
    places = [(*point, variant) for point in sweep.points for variant in sweep.variants]
    return {"rows": [row for place in places for row in _rows(sweep, precisions, *place, tick)], "notes": []}


@torch.inference_mode()
def _rows(
    sweep: Sweep, precisions: Sequence[str], size: str, length: int, variant: Variant, tick: Callable[[], None]
) -> list[dict[str, Any]]:
    torch.manual_seed(1)
    model = LeanformerModel(sweep.config(size, length, variant), add_pooling_layer=False).eval()
    nn.Module.to(model, sweep.device)
    batch = sweep.batch(length)
    ids = torch.randint(5, model.config.vocab_size, (batch, length)).to(sweep.device)
    steps = {precision: _step(model, precision, ids) for precision in precisions}
    states = {precision: step().float() for precision, step in steps.items()}
    times = {precision: repeats(step, sweep.device) for precision, step in steps.items()}
    turns = {precision: turn(step, times[precision], sweep.device) for precision, step in steps.items()}
    taken = alternate(turns, sweep.rounds, tick)
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
        for precision in precisions
    ]


def _step(model: LeanformerModel, precision: str, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    copy = for_inference(model, precision) if precision in PRECISIONS else model

    def step() -> torch.Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == "autocast"):
            return copy(ids).last_hidden_state

    return step
