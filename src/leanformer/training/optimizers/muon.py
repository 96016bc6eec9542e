"""Muon: momentum whose update is made orthogonal, for matrices that map one hidden layer to another.

For a matrix W (A, B) with gradient G, momentum m, decay d and learning rate r,

    M <- m M + (1 - m) G            U = orthogonal((1 - m) G + m M)
    W <- (1 - r d) W - r 0.2 sqrt(max(A, B)) U

where orthogonal(S diag(s) T') is about S T': every direction of the update is as long as any other. The factor
0.2 sqrt(max(A, B)) gives U the root mean square of a usual update of Adam, so that one learning rate and one decay
serve both (torch's `match_rms_adamw`). A parameter of more dimensions is a stack of matrices, one per head.

Sources: Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks"; the factor is of Liu et al.,
2025, "Muon is Scalable for LLM Training". What torch.optim.Muon computes, which takes matrices only, and one at a time:
here all of one shape are one product, up to 2x faster on a CPU at 128 x 128 and a sixtieth of the time at 32 x 32.

Sharded parameters (`machine/sharding.py`): a process has some rows of every matrix, and an update needs whole matrices.
The n directions of one shape, in bfloat16, are exchanged so that each of W processes has n / W whole matrices, makes
them orthogonal, and sends the rows back. Per step 4 bytes per weight are exchanged, and no matrix is computed twice.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from leanformer.training.machine.sharding import local

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The coefficients of an odd polynomial that maps singular values in (0.01, 1] to about 0.7 to 1.2 in `ITERATIONS`."""
ITERATIONS = 5
RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Optimizes parameters of two or more dimensions; the last two dimensions are the matrix."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0, momentum: float = MOMENTUM) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim < 2:
                    raise ValueError(f"Muon takes matrices, not a parameter of shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for parameters in shapes.values():
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update parameters of one shape."""
        own = torch.stack([self._direction(parameter, group["momentum"]) for parameter in parameters])
        directions = orthogonal_rows(own, parameters)
        scale = RMS * max(parameters[0].shape[-2:]) ** 0.5
        for parameter, direction in zip(parameters, directions, strict=True):
            rows = local(parameter)
            rows.mul_(1 - group["lr"] * group["weight_decay"])
            rows.add_(direction, alpha=-group["lr"] * scale)

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """Returns Nesterov's direction in bfloat16, of a sharded parameter that of this process's part."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        gradient = local(gradient)
        mean = local(state["momentum_buffer"]).lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum).bfloat16()


def orthogonal_rows(directions: Tensor, parameters: list[Tensor]) -> Tensor:
    """Returns the orthogonal directions (n, a, B) of n parameters of one shape, of which this process has a rows each.

    Parameters that are not sharded, and stacks, which are sharded between their matrices, need no other process.
    """
    like = parameters[0]
    if not isinstance(like, DTensor) or like.ndim > 2:
        return orthogonal(directions)
    mesh, size = like.device_mesh, torch.Size([len(parameters), *like.shape])
    place: dict[str, Any] = {"run_check": False, "shape": size, "stride": torch.empty(size, device="meta").stride()}
    by_row = DTensor.from_local(directions, mesh, [Shard(1)], **place)
    by_matrix = orthogonal(by_row.redistribute(mesh, [Shard(0)]).to_local())
    return DTensor.from_local(by_matrix, mesh, [Shard(0)], **place).redistribute(mesh, [Shard(1)]).to_local()


def orthogonal(matrices: Tensor) -> Tensor:
    """Returns each matrix (..., A, B) with its singular values moved near to one, by the Newton-Schulz iteration.

    X <- a X + (b X X' + c (X X')^2) X, from X divided by its Frobenius norm; zero stays zero.
    """
    tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.reshape(-1, *matrices.shape[-2:])
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.mT if tall else x
    return x.reshape(matrices.shape)
