"""The processes of a run, and the numbers that they exchange before a step; a single process exchanges nothing."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor


class StepInfo(NamedTuple):
    """Numbers about the next step, equal on all processes."""

    targets: int
    """The number of targets in the global batch of the next step."""
    seconds: float
    """The first process's clock, so that a budget in seconds ends at the same step on every process."""
    signal: int
    """The number of a signal to stop if any process received one, else 0."""


class ProcessGroup:
    def __init__(self, accelerator: Accelerator) -> None:
        self.size = accelerator.num_processes
        # Host numbers are sent over gloo, also beside NCCL, so that no process waits for a GPU.
        self._group = dist.new_group(backend="gloo") if self.size > 1 else None

    def step_info(self, targets: int, seconds: float, signal: int) -> StepInfo:
        """Combines the numbers of all processes: the sum of targets, the first process's clock, the largest signal."""
        rows = self._all_gather(targets, seconds, signal)
        return StepInfo(int(sum(r[0] for r in rows)), rows[0][1], int(max(r[2] for r in rows)))

    def total(self, *values: float) -> list[float]:
        """Returns the sums over the processes, in float64 and in the order of the ranks."""
        return [sum(column) for column in zip(*self._all_gather(*values), strict=True)]

    def _all_gather(self, *values: float) -> list[list[float]]:
        """Returns one row per process."""
        if self._group is None:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine, group=self._group)
        return [row.tolist() for row in rows]


def all_gather_variable(values: Tensor) -> Tensor:
    """Returns `values` (b, ...) of all processes in the order of ranks, (B, ...), equal on each; b may differ."""
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
