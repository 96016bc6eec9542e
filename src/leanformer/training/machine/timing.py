"""The time of a step: the mean of several consecutive steps, including all their work on the device."""

import time
from collections.abc import Callable

import torch


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
