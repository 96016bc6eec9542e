"""BERT in, BERT out: a Hugging Face BERT directory to leanformer's `dot_product` and back, with equal outputs.

Strict by design. A tensor that the tables of `names` cannot place, and one that the target needs and the source lacks,
are errors; what the target's class has no place for, such as the next-sentence head, is left behind with a note.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.bert import modeling_bert
from transformers.models.bert.configuration_bert import BertConfig

import leanformer.models as models
from leanformer.attention import mechanism
from leanformer.models import checkpoint_files, names
from leanformer.models.config import LeanformerConfig
from leanformer.spelling import suggest

ONLY_WITH = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}
"""Settings of BERT that leanformer expresses at this value alone."""


def convert(
    source: str | Path, target: str | Path, attention: str = "dot_product", to: str = "leanformer"
) -> list[str]:
    """Write the model in `source` to the new directory `target`. What was left behind comes back, a note each."""
    source, target = Path(source), Path(target)
    if to not in ("leanformer", "bert"):
        raise ValueError(f"cannot convert to {to!r}: 'leanformer' and 'bert' are known")
    if mechanism(attention).name != "dot_product":
        raise ValueError(f"BERT's separate projections do not merge into {attention!r} yet: convert to 'dot_product'")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists already: name a new directory")
    settings = checkpoint_files.read_config(source, "bert" if to == "leanformer" else "leanformer")
    tensors = checkpoint_files.read_weights(source)
    read = _from_bert if to == "leanformer" else _from_leanformer
    renamed, config = read(settings, tensors, source)
    placed, notes = _place(renamed, _template(config, renamed), source)
    checkpoint_files.write(config, placed, tokenizer=source, target=target)
    return notes


C = TypeVar("C", bound=PreTrainedConfig)
Renamed = list[tuple[str, str | None, Tensor]]
"""Old name, new name if there is one, and the tensor."""


def _from_bert(settings: dict[str, Any], tensors: dict[str, Tensor], source: Path) -> tuple[Renamed, PreTrainedConfig]:
    for key, value in ONLY_WITH.items():
        if settings.get(key, value) != value:
            raise ValueError(f"{source}: leanformer cannot express {key} = {settings[key]!r}, only {value!r}")
    tensors = {key: tensor for key, tensor in _prefixed(tensors, "bert.").items() if not key.endswith(".position_ids")}
    guess = "BertForMaskedLM" if "cls.predictions.transform.dense.weight" in tensors else "BertModel"
    found = (settings.get("architectures") or [guess])[0]
    config = _config(LeanformerConfig, BertConfig, settings, source)
    config.architectures = [_counterpart(names.ALIASES.get(found, found), names.CLASSES, source)]
    return [(key, names.to_leanformer(key), tensor) for key, tensor in tensors.items()], config


def _from_leanformer(
    settings: dict[str, Any], tensors: dict[str, Tensor], source: Path
) -> tuple[Renamed, PreTrainedConfig]:
    options = settings.get("attention_options") or {}
    for key, value, only in (
        ("attention", settings.get("attention", "dot_product"), "dot_product"),
        ("attention_options.projection", options.get("projection", "separate"), "separate"),
        ("positions", settings.get("positions", "learned"), "learned"),
        ("norm", settings.get("norm", "post"), "post"),
        ("biases", settings.get("biases", True), True),
        ("feed_forward", settings.get("feed_forward", "plain"), "plain"),
        ("qk_norm", settings.get("qk_norm", False), False),
    ):
        if value != only:
            raise ValueError(f"{source}: BERT cannot express {key} = {value!r}, only {only!r}: use it as leanformer")
    found = (settings.get("architectures") or ["LeanformerForMaskedLM"])[0]
    config = _config(BertConfig, LeanformerConfig, settings, source)
    config.architectures = [_counterpart(found, {ours: berts for berts, ours in names.CLASSES.items()}, source)]
    renamed = [(key, names.to_bert(key), tensor) for key, tensor in _prefixed(tensors, "encoder.").items()]
    if "head.decoder.bias" in tensors:  # BERT holds it twice
        renamed.append(("head.decoder.bias", "cls.predictions.bias", tensors["head.decoder.bias"].clone()))
    return renamed, config


def _config(to: type[C], of: type[PreTrainedConfig], settings: dict[str, Any], source: Path) -> C:
    """What both families' configs have in common."""
    try:
        read = of.from_dict(settings)
    except StrictDataclassError as error:
        raise ValueError(f"{source / 'config.json'}: {error.__cause__ or error}") from None
    shared = {f.name for f in fields(of)} & {f.name for f in fields(to)} - {"transformers_version"}
    return to(**{key: getattr(read, key) for key in shared})


def _counterpart(class_name: str, table: dict[str, str], source: Path) -> str:
    if class_name not in table:
        raise ValueError(f"{source / 'config.json'}: no counterpart of {class_name}; {suggest(class_name, table)}")
    return table[class_name]


def _template(config: PreTrainedConfig, renamed: Renamed) -> PreTrainedModel:
    """The target without values: it knows the names and shapes that its class loads."""
    class_name, options = (config.architectures or [""])[0], {}
    if class_name in ("BertModel", "LeanformerModel"):
        options["add_pooling_layer"] = any(new is not None and ".pooler." in new for _, new, _ in renamed)
    with torch.device("meta"):
        return getattr(modeling_bert if isinstance(config, BertConfig) else models, class_name)(config, **options)


def _place(renamed: Renamed, template: PreTrainedModel, source: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Every tensor that the template's class saves, under the name it saves it by."""
    prefix = f"{template.base_model_prefix}." if template.base_model is template else ""
    wanted = {prefix + key: tensor.shape for key, tensor in template.state_dict().items()}
    tied = {prefix + key for key in template.all_tied_weights_keys}
    placed, dropped = {}, set()
    for old, new, tensor in renamed:
        module = old.rpartition(".")[0]
        if new in wanted:
            if tensor.shape != wanted[new]:
                found, said = list(tensor.shape), list(wanted[new])
                raise ValueError(f"{source}: {old} has shape {found}, but its config.json says {said}")
            placed[new] = tensor
        elif module in names.DROPPED:
            dropped.add(module)
        else:
            raise ValueError(f"{source}: {type(template).__name__} has no place for {old}, so nothing was converted")
    if missing := sorted(wanted.keys() - placed.keys() - tied):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ValueError(f"{source} holds no values for {missing[0]}{more}: save the whole model again")
    notes = [f"left behind: {names.DROPPED[module]} ({module})" for module in sorted(dropped)]
    return {key.removeprefix(prefix): placed[key] for key in wanted if key not in tied}, notes


def _prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A bare encoder's tensors as a model with a head calls them."""
    if any(key.startswith(prefix) for key in tensors):
        return tensors
    return {prefix + key: tensor for key, tensor in tensors.items()}
