"""The examples of a step that all processes hold together."""

import torch
import torch.distributed as dist
from torch import Tensor


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
