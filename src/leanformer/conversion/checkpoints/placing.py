"""Tensors into the places of a model's class.

Strict by design. A tensor that nothing can place, and one that the target needs and the source lacks, are errors; what
the target's class has no place for, such as the next-sentence head, is left behind with a note.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.bert import modeling_bert
from transformers.models.bert.configuration_bert import BertConfig

import leanformer.models as models

C = TypeVar("C", bound=PreTrainedConfig)
Renamed = list[tuple[str, str | None, Tensor]]
"""Old name, new name if there is one, and the tensor."""


def read_as(of: type[C], settings: Mapping[str, Any], source: Path) -> C:
    """The config of a config.json; ValueError that names the wrong key."""
    try:
        return of.from_dict(dict(settings))
    except Exception as error:  # ValueError from us, others of its own from huggingface_hub and every family
        raise ValueError(f"{source / 'config.json'}: {' '.join(str(error.__cause__ or error).split())}") from None


def in_common(config: PreTrainedConfig, to: type[PreTrainedConfig], settings: Mapping[str, str]) -> dict[str, Any]:
    """What both families' configs know, by the names of `to`; `settings` translates."""
    known = {field.name for field in fields(to)} - {"transformers_version"}
    pairs = ((settings.get(field.name, field.name), field.name) for field in fields(config))
    return {new: getattr(config, old) for new, old in pairs if new in known}


def template(config: PreTrainedConfig, names: set[str | None]) -> PreTrainedModel:
    """The target without values: it knows the names and shapes that its class loads; with a pooler if `names` do."""
    class_name, options = (config.architectures or [""])[0], {}
    if class_name in ("BertModel", "LeanformerModel"):
        options["add_pooling_layer"] = any(name is not None and "pooler." in name for name in names)
    with torch.device("meta"):
        return getattr(modeling_bert if isinstance(config, BertConfig) else models, class_name)(config, **options)


def place(
    renamed: Renamed, model: PreTrainedModel, source: Path, dropped: Mapping[str, str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Every tensor that the model saves, under the name it saves it by, and notes of what was left behind."""
    prefix = f"{model.base_model_prefix}." if model.base_model is model else ""
    wanted = {prefix + key: tensor.shape for key, tensor in model.state_dict().items()}
    tied = {prefix + key for key in model.all_tied_weights_keys}
    placed: dict[str, Tensor] = {}
    behind: dict[str, list[str]] = {}
    for old, new, tensor in renamed:
        module = old.rpartition(".")[0]
        if new in wanted:
            if tensor.shape != wanted[new]:
                found, said = list(tensor.shape), list(wanted[new])
                raise ValueError(
                    f"{source}: {old} has shape {found}, but its config.json says {said}: copy or download both again"
                )
            placed[new] = tensor
        elif module in dropped:
            if module not in behind.setdefault(dropped[module], []):
                behind[dropped[module]].append(module)
        else:
            raise ValueError(f"{source}: {type(model).__name__} has no place for {old}, so nothing was converted")
    if missing := sorted(wanted.keys() - placed.keys() - tied):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ValueError(f"{source} holds no values for {missing[0]}{more}: save the whole model again")
    notes = [f"left behind: {what} ({', '.join(modules)})" for what, modules in behind.items()]
    return {key.removeprefix(prefix): placed[key] for key in wanted if key not in tied}, notes


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A bare encoder's tensors as a model with a head calls them."""
    if any(key.startswith(prefix) for key in tensors):
        return dict(tensors)
    return {prefix + key: tensor for key, tensor in tensors.items()}
