"""Initial values: one rule, drawn so that models of different attention start from the same weights."""

import copy
import hashlib

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedModel

from leanformer.attention import MultiHeadAttention

SOURCES = {"token": "query", "shared": "query", "query_value": "query", "key_value": "key"}
"""A tied projection starts where this projection of the baseline starts."""


def initial_values(module: nn.Module, std: float) -> dict[str, Tensor]:
    """Returns fresh values of what `module` itself holds, drawn on the CPU from torch's default generator.

    BERT's rule: matrices and tables N(0, std^2), biases and the padding row zero; a map's matrix times its
    `initial_scale`, if it is marked with one.
    A mechanism with bare parameters says in its `initial_values` what they start from, other layers of torch (norms)
    start as torch has them.
    """
    with torch.device("cpu"):
        if isinstance(module, nn.Linear):
            weight = torch.randn(module.weight.shape) * (std * getattr(module, "initial_scale", 1.0))
            return {"weight": weight} if module.bias is None else {"weight": weight, "bias": torch.zeros(len(weight))}
        if isinstance(module, nn.Embedding):
            weight = torch.randn(module.weight.shape) * std
            if module.padding_idx is not None:
                weight[module.padding_idx] = 0
            return {"weight": weight}
        if (own := getattr(module, "initial_values", None)) is not None:
            values = own()
            if missing := [name for name, _ in module.named_parameters(recurse=False) if name not in values]:
                raise ValueError(f"{type(module).__name__}.initial_values() has no {missing[0]}: name every parameter")
            return values
        if not list(module.parameters(recurse=False)):
            return {}
        if (reset := getattr(copy.deepcopy(module).to_empty(device="cpu"), "reset_parameters", None)) is not None:
            reset()
            return dict(reset.__self__.named_parameters(recurse=False))
    raise ValueError(f"{type(module).__name__} holds parameters: it needs initial_values(), fresh ones by name")


def values_when_built(module: nn.Module, std: float) -> dict[str, Tensor]:
    """Returns `initial_values`, but for the matrix of a map marked `drawn_once`, a pooler's: it is always the same N(0,
    std^2).

    A pre-trained model is saved without a pooler, as no objective trains one. If every load drew another, an adapter
    that is saved without the pooler would meet another one than it was trained with. numpy promises that the numbers of
    this generator never change. `initialise` does without this: there the seed decides.
    """
    values = initial_values(module, std)
    if getattr(module, "drawn_once", False):
        drawn = np.random.RandomState(0).standard_normal(tuple(values["weight"].shape))
        values["weight"] = torch.from_numpy(drawn * std)
    return values


@torch.no_grad()
def initialise(model: PreTrainedModel, seed: int, only: str = "") -> None:
    """Set every weight (of the modules whose name starts with `only`) to a function of `seed` and its module's name.

    So two models agree bit by bit on every weight they share by name and shape, whatever their mechanisms, dtypes,
    devices and the order they were built in; a tied projection takes the values of the one it stands for, so does a map
    marked with another's name in `starts_as`, and a mechanism alone those of itself as a part of a mixture.
    """
    tied, alone = model.all_tied_weights_keys, _alone(model)
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            if name.startswith(only):
                path, dot, last = _shared_name(model, name, alone).rpartition(".")
                last = getattr(module, "starts_as", SOURCES.get(last, last))
                torch.default_generator.manual_seed(_seed(seed, f"{path}{dot}{last}"))
                for key, value in initial_values(module, model.config.initializer_range).items():
                    if f"{name}.{key}" not in tied:
                        getattr(module, key).copy_(value)


def _alone(model: nn.Module) -> dict[str, str]:
    """Returns where a model has a compatibility that is no mixture, and what its mechanism is called."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)]
    return {f"{name}.compatibility": layer.mechanism.name for name, layer in layers if "+" not in layer.mechanism.name}


def _shared_name(model: PreTrainedModel, name: str, alone: dict[str, str]) -> str:
    """What the module is called in models with another head and in mixtures: encoder.layers.0.attention.compatibility
    of `random` is layers.0.attention.compatibility.random, its place in `random+dot_product`.
    """
    path, dot, rest = name.partition(".compatibility")
    if (mechanism := alone.get(path + dot)) is not None:
        name = f"{path}{dot}.{mechanism}{rest}"
    return name.removeprefix(f"{model.base_model_prefix}.")


def _seed(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8])
