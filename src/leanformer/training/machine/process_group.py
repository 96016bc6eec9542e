"""The processes of a run, and the numbers that they exchange before a step; a single process exchanges nothing."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

T = TypeVar("T")
STALE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Set to 1, every start by torchrun has a store of its own, in which no address of an earlier start is left."""


class StepInfo(NamedTuple):
    """Numbers about the next step, equal on all processes."""

    targets: int
    """The number of targets in the global batch of the next step."""
    seconds: float
    """The first process's clock, so that a budget in seconds ends at the same step on every process."""
    signal: int
    """The number of a signal to stop if any process received one, else 0."""


def launcher_note(environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns a note if torchrun would start again processes that then may wait for the addresses of dead ones."""
    restarts = int(environment.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return f"restarted processes may wait for dead ones: export {STALE}=1 before torchrun (docs/distributed.md)"
    return None


class ProcessGroup:
    def __init__(self, accelerator: Accelerator) -> None:
        self.size, self.rank = accelerator.num_processes, accelerator.process_index
        # Host numbers are sent over gloo, also beside NCCL, so that no process waits for a GPU.
        self.hosts = dist.new_group(backend="gloo") if self.size > 1 else None

    def step_info(self, targets: int, seconds: float, signal: int) -> StepInfo:
        """Combines the numbers of all processes: the sum of targets, the first process's clock, the largest signal."""
        rows = self._all_gather(targets, seconds, signal)
        return StepInfo(int(sum(r[0] for r in rows)), rows[0][1], int(max(r[2] for r in rows)))

    def total(self, *values: float) -> list[float]:
        """Returns the sums over the processes, in float64 and in the order of the ranks."""
        return [sum(column) for column in zip(*self._all_gather(*values), strict=True)]

    def together(self, action: Callable[[], T]) -> T:
        """Returns `action()`; if it raises OSError or ValueError on one process, that is raised on all of them."""
        found: Any = None
        failed: Exception | None = None
        try:
            found = action()
        except (OSError, ValueError) as error:
            failed = error
        mine = None if failed is None else (isinstance(failed, OSError), str(failed))
        for other in self.gather(mine):
            if failed is None and other is not None:
                failed = OSError(other[1]) if other[0] else ValueError(other[1])
        if failed is not None:
            raise failed
        return found

    def gather(self, value: T) -> list[T]:
        """Returns the value of every process, in the order of the ranks."""
        if self.hosts is None:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.hosts)
        return found

    def _all_gather(self, *values: float) -> list[list[float]]:
        """Returns one row per process."""
        if self.hosts is None:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine, group=self.hosts)
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
