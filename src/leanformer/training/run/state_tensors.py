"""The tensors of a model and of its optimizer by name, read and written in place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.training.machine.sharding import sharded_like


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns every parameter under its first name (tied parameters once), and the persistent buffers."""
    persistent = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return {name: tensor.detach() for name, tensor in [*model.named_parameters(), *buffers.items()]}


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set the model's weights; raises ValueError if names or shapes differ from the model's."""
    targets = weights(model)
    if different := sorted(targets.keys() ^ tensors.keys()):
        raise ValueError(f"it and the model disagree about {different[0]}")
    for name, tensor in targets.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, the model's {tuple(tensor.shape)}")
        tensor.copy_(sharded_like(tensors[name], tensor))


def moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimizer's state as `PARAMETER.moment`."""
    names, state = parameter_names(model, optimizer), optimizer.state_dict()["state"]
    return {f"{names[i]}.{key}": value for i, values in state.items() for key, value in values.items()}


def set_moments(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    index = {name: i for i, name in enumerate(parameter_names(model, optimizer))}
    parameters = dict(model.named_parameters())
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(".", 1)
        state.setdefault(index[parameter], {})[key] = sharded_like(tensor, parameters[parameter]).clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Returns the names of the parameters in the optimizer's order."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
