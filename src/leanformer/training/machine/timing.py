"""The time of a step: the mean of several consecutive steps, including all their work on the device."""

import time
from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor, nn

from leanformer.settings import TrainingSettings
from leanformer.training.machine.hardware import autocast_dtype
from leanformer.training.optimizers.parameter_groups import make_optimizer

MEASURED_STEPS = 3


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Returns the mean time of one of `repeats` consecutive steps, in seconds."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronise(device)
    return (time.perf_counter() - start) / repeats


def seconds_of_a_step(loss: Callable[[], Tensor], precision: str, device: torch.device, least: float = 0.0) -> float:
    """Returns the mean time of a forward and a backward pass, over `least` seconds or longer, after one pass that is
    not counted."""
    bf16 = autocast_dtype(precision, device) is not None

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = loss()
        found.backward()

    step()
    repeats = MEASURED_STEPS if not least else max(MEASURED_STEPS, ceil(least / seconds(step, 1, device)))
    return seconds(step, repeats, device)


def seconds_of_an_update(model: nn.Module, training: TrainingSettings, device: torch.device) -> float:
    """Returns the mean time of clipping and the optimizer's step, with the gradients that the model has, after one
    step that makes the optimizer's state."""
    optimizer = make_optimizer(model, training)

    def update() -> None:
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()

    update()
    return seconds(update, MEASURED_STEPS, device)


def duration(seconds: float) -> str:
    """Returns the time in words, in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
