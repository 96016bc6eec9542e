"""A checkpoint as leanformer's config and tensors: one of the families, with equal outputs, or a model of our own."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

import leanformer.models as models
from leanformer.conversion.checkpoints import files
from leanformer.conversion.checkpoints.families import FAMILIES
from leanformer.conversion.checkpoints.names import Family
from leanformer.conversion.checkpoints.placing import Renamed, in_common, place, prefixed, read_as, template
from leanformer.models.config import LeanformerConfig
from leanformer.spelling import suggest

POSITIONS = "encoder.embeddings.position_embeddings.weight"
ENCODER = "LeanformerModel"


class Checkpoint(NamedTuple):
    config: LeanformerConfig
    tensors: dict[str, Tensor]
    tokenizer_class: str
    notes: list[str]
    family: str


def read(directory: Path, *, encoder_only: bool = False, ignore_remote_code: bool = False) -> Checkpoint:
    """With `encoder_only` the bare encoder, whatever head there is."""
    settings = files.read_config(directory, ignore_remote_code)
    kind = settings.get("model_type")
    if kind == LeanformerConfig.model_type:
        return _own(settings, directory, encoder_only)
    if kind not in FAMILIES:
        remedy = suggest(str(kind), [*FAMILIES, LeanformerConfig.model_type])
        raise ValueError(f"{directory / 'config.json'}: model_type is {kind!r}, and no such family converts; {remedy}")
    return _family(FAMILIES[kind], settings, directory, encoder_only)


def _family(family: Family, settings: dict[str, Any], directory: Path, encoder_only: bool) -> Checkpoint:
    path = directory / "config.json"
    for key, value in family.only_with.items():
        if settings.get(key, value) != value:
            raise ValueError(f"{path}: leanformer cannot express {key} = {settings[key]!r}, only {value!r}")
    tensors = prefixed(files.read_weights(directory, settings), family.prefix)
    tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(".position_ids")}
    read = read_as(family.config, settings, directory)
    heads = [key for key in tensors if not key.startswith(family.prefix)]
    ours = ENCODER if encoder_only else _counterpart(family, settings, heads, path)
    dropped = dict(family.dropped) | ({key.rpartition(".")[0]: "the head" for key in heads} if encoder_only else {})
    shared = in_common(read, LeanformerConfig, family.settings) | dict(family.fixed) | family.derived(read)
    if ours in ("LeanformerForSequenceClassification", "LeanformerForMultipleChoice"):
        shared |= family.classifier(read)
    offset = family.offset(read)
    shared["max_position_embeddings"] -= offset
    config = read_as(LeanformerConfig, shared, directory)
    if ours == "LeanformerForMaskedLM" and family.head_act not in (None, config.hidden_act):
        raise ValueError(
            f"{path}: its masked-LM head computes {family.head_act}, its layers hidden_act = {config.hidden_act!r}, "
            "and leanformer has one for both: add --encoder-only, which leaves the head behind"
        )
    config.architectures = [ours]
    renamed: Renamed = []
    for key, tensor in tensors.items():
        new = None if encoder_only and key in heads else family.to_leanformer(key)
        renamed.append((key, new, tensor[offset:] if new == POSITIONS else family.reshaped(key, tensor)))
    placed, notes = place(renamed, template(config, {new for _, new, _ in renamed}), directory, dropped)
    files.check_tokenizer(directory, config.vocab_size, family.tokenizer)
    return Checkpoint(config, placed, family.tokenizer, notes, family.model_type)


def _counterpart(family: Family, settings: dict[str, Any], heads: list[str], path: Path) -> str:
    masked_lm = next((name for name, ours in family.classes.items() if ours == "LeanformerForMaskedLM"), family.base)
    guess = masked_lm if f"{family.masked_lm_module}.weight" in heads else family.base
    found = (settings.get("architectures") or [guess])[0]
    found = family.aliases.get(found, found)
    if found not in family.classes:
        raise ValueError(
            f"{path}: no counterpart of {found}; {suggest(found, family.classes)} "
            "With --encoder-only the head is left behind"
        )
    return family.classes[found]


def _own(settings: dict[str, Any], directory: Path, encoder_only: bool) -> Checkpoint:
    config = read_as(LeanformerConfig, settings, directory)
    tensors = files.read_weights(directory, settings)
    found = (config.architectures or ["LeanformerForMaskedLM"])[0]
    if found not in models.__all__:
        raise ValueError(f"{directory / 'config.json'}: leanformer has no {found}; {suggest(found, models.__all__)}")
    if found == ENCODER:
        tensors = prefixed(tensors, "encoder.")
    for old, new in getattr(getattr(models, found), "renamed", {}).items():
        tensors = {re.sub(old, new, key): tensor for key, tensor in tensors.items()}
    heads = [key for key in tensors if not key.startswith("encoder.")] if encoder_only else []
    config.architectures = [ENCODER if encoder_only else found]
    renamed: Renamed = [(key, None if key in heads else key, tensor) for key, tensor in tensors.items()]
    dropped = {key.rpartition(".")[0]: "the head" for key in heads}
    placed, notes = place(renamed, template(config, {new for _, new, _ in renamed}), directory, dropped)
    files.check_tokenizer(directory, config.vocab_size, "BertTokenizer")
    return Checkpoint(config, placed, "BertTokenizer", notes, LeanformerConfig.model_type)
