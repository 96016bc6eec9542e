"""Sharded parameters (FSDP2): every process stores a part of each parameter, its gradient and its optimizer state.

    training.sharding = "fsdp2"    W processes, a parameter (A, ...): parts of ceil(A / W) rows, the last ones smaller

PyTorch's `fully_shard` gathers the parameters of one block before it computes, forward and backward, and frees them
after it. The gradients of a block are averaged over the processes as soon as they are there, and each process keeps its
part. The unit of gathering is a block; embeddings, head, last norm, and what several blocks share (tied weights, shared
layers, banks of heads) form one more unit, which stays whole from the forward to the end of the backward pass. A
parameter never belongs to two units, so a tied weight stays one parameter.

Precision is that of autocast, as without sharding: parameters are stored, gathered and averaged in float32, and under
bf16 autocast casts them for each product. So a run has the curve of an unsharded one, up to the order of sums.

Source: Zhao et al., 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel".
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from leanformer.models.blocks import Residual
from leanformer.models.layer_sharing import modules_of


def shard(model: nn.Module, device: torch.device, processes: int) -> None:
    """Shard `model` in place over all processes, and move its parts to `device`.

    An optimizer must be made afterwards, since the parameters are replaced.
    """
    mesh = init_device_mesh(device.type, (processes,))
    for unit in [*units(model), model]:
        fully_shard(unit, mesh=mesh)
    model.to(device)


def units(model: nn.Module) -> list[nn.Module]:
    """Returns the blocks that share no parameter with anything outside of them."""
    blocks = [module for module in model.modules() if isinstance(module, Residual)]
    parts = {block: set(modules_of(block)) for block in blocks}
    users = Counter(parameter for block in blocks for parameter in _parameters(parts[block]))
    users.update(_parameters(set(model.modules()).difference(*parts.values())))
    return [block for block in blocks if all(users[parameter] == 1 for parameter in _parameters(parts[block]))]


def _parameters(modules: Iterable[nn.Module]) -> set[nn.Parameter]:
    """Returns what the modules themselves hold."""
    return {parameter for module in modules for parameter in module.parameters(recurse=False)}


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """A context for evaluation, in which every process has all parameters, so that no forward pass needs the others.

    Without it, processes with unequal numbers of batches would wait for each other for ever. An ordinary model is left
    as it is.
    """
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)


def local(tensor: Tensor) -> Tensor:
    """Returns this process's part of a sharded tensor, any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a sharded tensor; every process calls this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Returns the part of `tensor`, which all processes have whole, that `other` has of a tensor of its shape;
    an ordinary tensor, or one of another shape, as it is."""
    if not isinstance(other, DTensor) or isinstance(tensor, DTensor) or tensor.shape != other.shape:
        return tensor
    moved = tensor.to(other.device)
    return distribute_tensor(moved, other.device_mesh, other.placements, src_data_rank=None)
