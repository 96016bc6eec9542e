"""FLOP/s of the machine's matrix products at best, by which a run in the same process is judged.

    peak  = 2 N^3 / seconds of the fastest try of x W^T, both N x N
    share = FLOP/s of the run / peak

With the run's threads, and in the type of its matrix products. Other programs slow it down as they slow the run.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from leanformer.training.machine.process_group import ProcessGroup
from leanformer.training.machine.timing import seconds

SQUARE = {"cpu": 2048, "cuda": 8192}
"""N."""
TRIES, TURN = 3, 0.1
"""How often the time is taken, over so many seconds each."""
ENOUGH = 0.5
"""Seconds after which no further try begins."""
LEAST = 10.0
"""Seconds of a run whose share says something."""


def peak_of(accelerator: Accelerator, dtype: torch.dtype | None, trained: float) -> float | None:
    """The sum of what all processes reach at once; every one must call.

    None if the run `trained` less than LEAST seconds, by the first process's clock, on another device than a CPU or
    CUDA, or if there is no memory left.
    """
    group, device = ProcessGroup(accelerator), accelerator.device
    if group.step_info(0, trained, 0).seconds < LEAST:
        return None
    try:
        mine = square(device, dtype) if device.type in SQUARE else math.nan
    except torch.OutOfMemoryError:
        mine = math.nan
    (rate,) = group.total(mine)
    return None if math.isnan(rate) else rate


def square(device: torch.device, dtype: torch.dtype | None) -> float:
    """FLOP/s; matrices are in float32 for a dtype of None."""
    n = SQUARE[device.type]
    return product(n, n, n, device, dtype)


def product(rows: int, into: int, out: int, device: torch.device, dtype: torch.dtype | None) -> float:
    """FLOP/s of (rows, into) times (out, into)^T."""
    generator = torch.Generator(device).manual_seed(0)  # not the one whose state belongs to the run
    x = torch.randn(rows, into, device=device, dtype=dtype, generator=generator)
    weight = torch.randn(out, into, device=device, dtype=dtype, generator=generator)
    return 2 * rows * into * out / best(lambda: F.linear(x, weight), device)


@torch.inference_mode()
def best(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest try: a single step, once it is warm, then turns of it while there is time."""
    spent = seconds(step, 1, device)
    fastest = seconds(step, 1, device)
    spent, repeats = spent + fastest, max(1, min(100, round(TURN / fastest)))
    for _ in range(TRIES):
        if spent >= ENOUGH:
            break
        one = seconds(step, repeats, device)
        spent, fastest = spent + repeats * one, min(fastest, one)
    return fastest
