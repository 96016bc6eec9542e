"""The parameter groups: the optimizer, the weight decay and the multiple of the learning rate of each parameter.

    adamw          BERT's: decoupled weight decay on matrices and tables, none on vectors (biases, norms, scales)
    stable_adamw   the same with `stable_adamw.py`'s
    muon           hidden matrices with Muon (`muon.py`), the rest with AdamW: embeddings, the decoder whether or not
                   it is tied to them, vectors, and the bare parameters of mechanisms

Anything of two or more dimensions decays, so pairwise's coefficients (H, K, K) do, as in the authors' code, and
shared's scales (D,) do not. The moments have bias correction, as in every later BERT but not in Google's code.

A hidden matrix is the weight of an `nn.Linear`, taken as it is: a projection that plays several parts is one matrix,
and so is a layer that stacks two maps, whose rows then share one orthogonal frame. Position tables are no maps: their
rows go through a softmax, and a common scale for all directions means nothing there. Coefficients of a head are maps,
but start at scales of their own (`normal`, `identity`), far from that of Muon's steps.

A group that a module declares in its `parameter_groups` (`attention.parameter_group`) has the group's multiple of the
learning rate, or that of `training.lr_multipliers`; so have Muon's parameters, the group "muon". The factors multiply.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.attention import ParameterGroup, default_multipliers
from leanformer.attention.parameter_group import MUON
from leanformer.models import LeanformerConfig
from leanformer.settings import TrainingSettings
from leanformer.spelling import suggest
from leanformer.training.optimizers.muon import Muon
from leanformer.training.optimizers.stable_adamw import StableAdamW

FUSED = ("cpu", "cuda", "mps", "xpu")
"""Devices where torch updates all parameters in one kernel."""


def require_groups(settings: TrainingSettings, config: LeanformerConfig) -> None:
    """Raises ValueError, with the nearest name, for a multiplier of a group that no registered mechanism or mixer has.

    A group of other mechanisms is accepted, since the arms of a comparison share their settings.
    """
    own = [*config.parameter_groups(), MUON]
    known = sorted({*default_multipliers(), *own})
    for group in settings.lr_multipliers:
        if group not in known:
            name = f"training.lr_multipliers.{group}"
            raise ValueError(f"unknown group {name}: {suggest(group, known)} (this model's groups: {', '.join(own)})")


def changed_multipliers(multipliers: Mapping[str, float]) -> dict[str, float]:
    """Returns the entries of `training.lr_multipliers` that are not the default of their group."""
    defaults = default_multipliers() | {MUON: {1.0}}
    return {group: each for group, each in multipliers.items() if {each} != defaults.get(group)}


def make_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Returns the optimizer of all trainable parameters; a group's `factor` is its multiple of the learning rate."""
    matrices = set(hidden_matrices(model)) if settings.optimizer == "muon" else set()
    factors = rate_factors(model, settings)
    groups: dict[tuple[bool, bool, float], list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            factor = factors.get(parameter, 1.0)
            factor *= settings.lr_multipliers.get(MUON, 1.0) if parameter in matrices else 1.0
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
        groups: Mapping[str, ParameterGroup] = getattr(module, "parameter_groups", {})
        for name, group in groups.items():
            multiplier = settings.lr_multipliers.get(name, group.multiplier)
            members = (p for key, p in module.named_parameters() if key.partition(".")[0] in group.members)
            factors |= dict.fromkeys(members, multiplier)
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
