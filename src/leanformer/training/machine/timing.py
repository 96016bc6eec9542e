"""How long a step takes: the mean of several in a row, with nothing of it left to do on the device."""

import time
from collections.abc import Callable

import torch


def synchronise(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Of one step, the mean over `repeats` in a row."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronise(device)
    return (time.perf_counter() - start) / repeats
