"""The parameter groups: the optimizer, the weight decay and the multiple of the learning rate of each parameter.

    adamw          BERT's: decoupled weight decay on matrices and tables, none on vectors (biases, norms, scales)
    stable_adamw   the same with `stable_adamw.py`'s
    muon           hidden matrices with Muon (`muon.py`), the rest with AdamW: embeddings, the decoder whether or not
                   it is tied to them, vectors, and the bare parameters of mechanisms

Anything of two or more dimensions decays, so pairwise's coefficients (H, K, K) do, as in the authors' code, and
shared's scales (D,) do not. Differs from Google's code in the bias correction of the moments, as every later BERT does.

A hidden matrix is the weight of an `nn.Linear`, taken as it is: a projection that plays several parts is one matrix,
and so is a layer that stacks two maps, whose rows then share one orthogonal frame. Position tables are no maps: their
rows go through a softmax, and a common scale for all directions means nothing there. Coefficients of a head are maps,
but start at scales of their own (`normal`, `identity`), far from that of Muon's steps.

Parameters that a module names in `position_tables` learn at `table_rate` times the learning rate, those in
`rotary_phases` at `phase_rate` times, maps that it names in `tied_maps` at `tied_rate` times, what Muon has at
`muon_rate` times: the factors multiply.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.settings import TrainingSettings
from leanformer.training.optimizers.muon import Muon
from leanformer.training.optimizers.stable_adamw import StableAdamW

FUSED = ("cpu", "cuda", "mps", "xpu")
"""Devices where torch updates all parameters in one kernel."""


def make_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Returns the optimizer of all trainable parameters; a group's `factor` is its multiple of the learning rate."""
    matrices = set(hidden_matrices(model)) if settings.optimizer == "muon" else set()
    factors = rate_factors(model, settings)
    groups: dict[tuple[bool, bool, float], list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            factor = factors.get(parameter, 1.0) * (settings.muon_rate if parameter in matrices else 1.0)
            groups.setdefault((parameter in matrices, parameter.ndim >= 2, factor), []).append(parameter)
    by_muon, by_adam = (
        [
            {"params": parameters, "weight_decay": settings.weight_decay if decays else 0.0, "factor": factor}
            for (muon, decays, factor), parameters in groups.items()
            if muon is chosen
        ]
        for chosen in (True, False)
    )
    if not by_muon:
        return _adamw(by_adam, settings)
    muon = Muon(by_muon, lr=settings.learning_rate)
    return Joint(muon, _adamw(by_adam, settings)) if by_adam else muon


def hidden_matrices(model: nn.Module) -> Iterator[Tensor]:
    """Yields the weights of linear layers from hidden states to hidden states."""
    decoder = getattr(model, "get_output_embeddings", lambda: None)()
    words = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not decoder and module.weight not in words:
            yield module.weight


def rate_factors(model: nn.Module, settings: TrainingSettings) -> dict[Tensor, float]:
    """Returns the factors of the parameters whose learning rate is a multiple of the others'."""
    factors: dict[Tensor, float] = {}
    for module in model.modules():
        tables, phases, maps = (getattr(module, kind, ()) for kind in ("position_tables", "rotary_phases", "tied_maps"))
        for name, parameter in module.named_parameters():
            if name in tables:
                factors[parameter] = settings.table_rate
            elif name in phases:
                factors[parameter] = settings.phase_rate
            elif name.partition(".")[0] in maps:
                factors[parameter] = settings.tied_rate
    return factors


class Joint(torch.optim.Optimizer):
    """Optimizers of different parameters as one optimizer, with joint groups and joint state."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self.parts:
            part.state, part.param_groups = self.state, [next(groups) for _ in part.param_groups]


def _adamw(groups: list[dict[str, Any]], settings: TrainingSettings) -> torch.optim.Optimizer:
    how: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": (settings.beta1, settings.beta2),
        "eps": settings.epsilon,
    }
    if settings.optimizer == "stable_adamw":
        return StableAdamW(groups, **how)
    fused = all(p.device.type in FUSED for group in groups for p in group["params"])
    return torch.optim.AdamW(groups, **how, fused=fused)
