"""Tensors into the places of a model's class: those of a checkpoint in one of leanformer's, with equal outputs.

Strict by design. A tensor that nothing can place, and one that the target needs and the source lacks, are errors; what
the target's class has no place for, such as the next-sentence head, is left behind with a note. So are heads beside a
masked-LM head, whatever they are called.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.bert import modeling_bert
from transformers.models.bert.configuration_bert import BertConfig

import leanformer.models as models
from leanformer.conversion.checkpoints.names import Family
from leanformer.conversion.checkpoints.reading import Stored
from leanformer.models.config import LeanformerConfig
from leanformer.models.saved import read_as
from leanformer.spelling import suggest

POSITIONS = "encoder.embeddings.position_embeddings.weight"
ENCODER, MASKED_LM = "LeanformerModel", "LeanformerForMaskedLM"
OTHER_HEADS = "heads that leanformer does not have, and that --keep-heads writes to a file"
Renamed = list[tuple[str, str | None, Tensor]]
"""Old name, new name if there is one, and the tensor."""


class Checkpoint(NamedTuple):
    """A model as leanformer's config and tensors."""

    config: LeanformerConfig
    tensors: dict[str, Tensor]
    tokenizer_class: str
    notes: list[str]
    family: str
    """What it was: a `model_type`."""
    left: dict[str, Tensor] = {}
    """What was left behind, under its old names."""


def place(stored: Stored, *, encoder_only: bool = False) -> Checkpoint:
    """Returns the checkpoint under leanformer's names; with `encoder_only` the bare encoder, whatever its head."""
    if stored.family is None:
        assert isinstance(stored.config, LeanformerConfig)
        return _own(stored, stored.config, encoder_only)
    return _translated(stored, stored.family, encoder_only)


def _translated(stored: Stored, family: Family, encoder_only: bool) -> Checkpoint:
    folder, path = stored.folder, stored.folder / "config.json"
    tensors = prefixed(stored.tensors, family.prefix)
    tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(".position_ids")}
    heads = [key for key in tensors if not key.startswith(family.prefix)]
    ours = ENCODER if encoder_only else _counterpart(family, stored.config, heads, path)
    dropped = dict(family.dropped) | ({key.rpartition(".")[0]: "the head" for key in heads} if encoder_only else {})
    try:
        settings = family.settings_of(stored.config, ours)
        tensors = family.unpacked(stored.config, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    config = read_as(LeanformerConfig, settings, folder)
    if ours == MASKED_LM and family.head_act not in (None, config.hidden_act):
        raise ValueError(
            f"{path}: its masked-LM head computes {family.head_act}, its layers hidden_act = {config.hidden_act!r}, "
            "and leanformer has one for both: add --encoder-only, which leaves the head behind"
        )
    if ours == MASKED_LM:
        others = [key for key in heads if not (family.to_leanformer(key) or "").startswith("head.")]
        dropped = {key.rpartition(".")[0]: OTHER_HEADS for key in others} | dropped
    config.architectures = [ours]
    renamed, offset = Renamed(), family.offset(stored.config)
    for key, tensor in tensors.items():
        new = None if encoder_only and key in heads else family.to_leanformer(key)
        renamed.append((key, new, tensor[offset:] if new == POSITIONS else tensor))
    placed, notes, left = settled(renamed, config, folder, dropped)
    named = next(iter(stored.config.architectures or ()), MASKED_LM)
    if ours == MASKED_LM and named not in (*family.classes, *family.aliases, MASKED_LM):
        notes.insert(0, f"{named}, a class that {family.model_type} does not have, is read by its masked-LM head")
    return Checkpoint(config, placed, family.tokenizer, notes, family.model_type, left)


def _counterpart(family: Family, config: PreTrainedConfig, heads: list[str], path: Path) -> str:
    masked_lm = f"{family.masked_lm_module}.weight" in heads
    found = (config.architectures or [MASKED_LM if masked_lm else ENCODER])[0]
    found = family.aliases.get(found, found)
    if masked_lm and found not in family.classes and not hasattr(transformers, found):  # a class of somebody's own
        return MASKED_LM
    if found not in (*family.classes, ENCODER):
        raise ValueError(
            f"{path}: no counterpart of {found}; {suggest(found, family.classes)}. "
            "With --encoder-only the head is left behind"
        )
    return family.classes.get(found, ENCODER)


def _own(stored: Stored, config: LeanformerConfig, encoder_only: bool) -> Checkpoint:
    tensors, found = stored.tensors, (config.architectures or [MASKED_LM])[0]
    if found not in models.__all__:
        place = stored.folder / "config.json"
        raise ValueError(f"{place}: leanformer has no {found}; {suggest(found, models.__all__)}")
    if found == ENCODER:
        tensors = prefixed(tensors, "encoder.")
    for old, new in getattr(getattr(models, found), "renamed", {}).items():
        tensors = {re.sub(old, new, key): tensor for key, tensor in tensors.items()}
    heads = [key for key in tensors if not key.startswith("encoder.")] if encoder_only else []
    config.architectures = [ENCODER if encoder_only else found]
    renamed: Renamed = [(key, None if key in heads else key, tensor) for key, tensor in tensors.items()]
    dropped = {key.rpartition(".")[0]: "the head" for key in heads}
    placed, notes, left = settled(renamed, config, stored.folder, dropped)
    return Checkpoint(config, placed, "BertTokenizer", notes, LeanformerConfig.model_type, left)


def settled(
    renamed: Renamed, config: PreTrainedConfig, source: Path, dropped: Mapping[str, str]
) -> tuple[dict[str, Tensor], list[str], dict[str, Tensor]]:
    """Every tensor that a model of this config saves, under the name it saves it by; notes of what was left behind, and
    those tensors."""
    model = _template(config, {new for _, new, _ in renamed})
    prefix = f"{model.base_model_prefix}." if model.base_model is model else ""
    wanted = {prefix + key: tensor.shape for key, tensor in model.state_dict().items()}
    tied = {prefix + key for key in model.all_tied_weights_keys}
    placed: dict[str, Tensor] = {}
    behind: dict[str, list[str]] = {}
    left: dict[str, Tensor] = {}
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
            left[old] = tensor
            if module not in behind.setdefault(dropped[module], []):
                behind[dropped[module]].append(module)
        else:
            raise ValueError(f"{source}: {type(model).__name__} has no place for {old}, so nothing was converted")
    if missing := sorted(wanted.keys() - placed.keys() - tied):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ValueError(f"{source} holds no values for {missing[0]}{more}: save the whole model again")
    notes = [f"left behind: {what} ({', '.join(modules)})" for what, modules in behind.items()]
    return {key.removeprefix(prefix): placed[key] for key in wanted if key not in tied}, notes, left


def _template(config: PreTrainedConfig, names: set[str | None]) -> PreTrainedModel:
    """The target without values: it knows the names and shapes that its class loads; with a pooler if `names` do."""
    class_name, options = (config.architectures or [""])[0], {}
    if class_name in ("BertModel", "LeanformerModel"):
        options["add_pooling_layer"] = any(name is not None and "pooler." in name for name in names)
    with torch.device("meta"):
        return getattr(modeling_bert if isinstance(config, BertConfig) else models, class_name)(config, **options)


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A bare encoder's tensors as a model with a head calls them."""
    if any(key.startswith(prefix) for key in tensors):
        return dict(tensors)
    return {prefix + key: tensor for key, tensor in tensors.items()}
