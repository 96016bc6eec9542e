"""The processes of a run, and what each must know of the others before a step; one process communicates nothing."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor


class StepInfo(NamedTuple):
    """What every process knows of the coming step; equal on all of them."""

    targets: int
    """Predictions in the global batch of the coming step."""
    seconds: float
    """The first process's clock: a budget in seconds must end on every process at the same step."""
    signal: int
    """Not 0 if any process was asked to stop."""


class ProcessGroup:
    def __init__(self, accelerator: Accelerator) -> None:
        self.size = accelerator.num_processes
        # Host numbers travel over gloo, also beside NCCL: nobody waits for a GPU to learn them.
        self._group = dist.new_group(backend="gloo") if self.size > 1 else None

    def step_info(self, targets: int, seconds: float, signal: int) -> StepInfo:
        """Combines the processes' numbers: targets are summed, the clock is the first one's, the signal the largest."""
        rows = self._all_gather(targets, seconds, signal)
        return StepInfo(int(sum(r[0] for r in rows)), rows[0][1], int(max(r[2] for r in rows)))

    def total(self, *values: float) -> list[float]:
        """Sums over the processes, in float64 and in the order of the ranks."""
        return [sum(column) for column in zip(*self._all_gather(*values), strict=True)]

    def _all_gather(self, *values: float) -> list[list[float]]:
        """One row a process."""
        if self._group is None:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine, group=self._group)
        return [row.tolist() for row in rows]


def all_gather_variable(values: Tensor) -> Tensor:
    """`values` (b, ...) of all processes in the order of their ranks (B, ...), alike on each; they may differ in b."""
    if not (dist.is_available() and dist.is_initialized()):
        return values
    count = torch.tensor([len(values)], device=values.device)
    counts = [torch.empty_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    sizes = [int(each) for each in counts]
    padded = values.new_zeros(max(sizes), *values.shape[1:])
    padded[: len(values)] = values
    found = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(found, padded)
    return torch.cat([each[:size] for each, size in zip(found, sizes, strict=True)])
