"""The machine's peak FLOP/s in matrix products, from which the MFU of a run in the same process is computed.

    peak = 2 N^3 / seconds of the fastest try of x W^T, both N x N
    MFU  = FLOP/s of the run / peak

It is measured with the run's threads and in the type of its matrix products. Other programs slow it down as they slow
the run.
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
"""The number of measurements, and the seconds of each."""
ENOUGH = 0.5
"""Seconds after which no further measurement begins."""
LEAST = 10.0
"""The shortest run, in seconds, whose MFU is reported."""


def peak_of(accelerator: Accelerator, dtype: torch.dtype | None, trained: float) -> float | None:
    """Returns the sum of the FLOP/s that all processes reach at the same time; every process must call it.

    Returns None if the run `trained` for less than LEAST seconds by the first process's clock, on a device that is
    neither a CPU nor CUDA, or if there is no memory left.
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
    """Returns the FLOP/s of a product of square matrices; they are in float32 if `dtype` is None."""
    n = SQUARE[device.type]
    return product(n, n, n, device, dtype)


def product(rows: int, into: int, out: int, device: torch.device, dtype: torch.dtype | None) -> float:
    """Returns the FLOP/s of (rows, into) times (out, into)^T."""
    generator = torch.Generator(device).manual_seed(0)  # not the global one, whose state belongs to the run
    x = torch.randn(rows, into, device=device, dtype=dtype, generator=generator)
    weight = torch.randn(out, into, device=device, dtype=dtype, generator=generator)
    return 2 * rows * into * out / best(lambda: F.linear(x, weight), device)


@torch.inference_mode()
def best(step: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds per step of the fastest measurement: one step after a warm-up, then means of many steps."""
    spent = seconds(step, 1, device)
    fastest = seconds(step, 1, device)
    spent, repeats = spent + fastest, max(1, min(100, round(TURN / fastest)))
    for _ in range(TRIES):
        if spent >= ENOUGH:
            break
        mean = seconds(step, repeats, device)
        spent, fastest = spent + repeats * mean, min(fastest, mean)
    return fastest
