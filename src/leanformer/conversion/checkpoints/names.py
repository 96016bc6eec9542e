"""What a family of Hugging Face's models calls things, and what leanformer does: what every family's file says."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig

from leanformer.models.config import LeanformerConfig

OURS = {
    "MaskedLM": "LeanformerForMaskedLM",
    "SequenceClassification": "LeanformerForSequenceClassification",
    "TokenClassification": "LeanformerForTokenClassification",
    "QuestionAnswering": "LeanformerForQuestionAnswering",
    "MultipleChoice": "LeanformerForMultipleChoice",
}
LAYERS = {
    "attention.self.query": "attention.projection.query",
    "attention.self.key": "attention.projection.key",
    "attention.self.value": "attention.projection.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward.up",
    "output.dense": "feed_forward.down",
    "output.LayerNorm": "feed_forward_norm",
}
"""The modules of a layer of BERT, which its descendants kept."""
EMBEDDINGS = {
    "word_embeddings": "word_embeddings",
    "position_embeddings": "position_embeddings",
    "token_type_embeddings": "token_type_embeddings",
    "LayerNorm": "norm",
}
LEGACY = {"gamma": "weight", "beta": "bias"}
"""The parameters of norms in checkpoints that were TensorFlow's once."""


@dataclass(frozen=True)
class Family:
    """One `model_type`. `modules` names its module: ours, where # is the number of a layer.

    `aliases` are classes read as another one, without the head that only they have. `dropped` are modules that a class
    of ours may have no place for. `settings` translates what the config calls otherwise than BERT, `fixed` is what it
    does not say because it knows no other value, `derived(config)` what follows from several of its keys, `only_with`
    what leanformer expresses at this value alone. `classifier(config)` is what a classifier of sequences or of choices
    adds to that.
    The first `offset(config)` rows of the position table belong to no position. `head_act` is that of a masked-LM head
    that ignores the config's activation, and `masked_lm_module` is a part of that head alone. `base_model_prefix` is
    transformers' prefix of the encoder in a model with a head, the `model_type` if None. `unpacked(config, tensors)`
    are the tensors one by one and in our shapes, still under the family's names, where it stores several in one or one
    for several.
    """

    model_type: str
    config: type[PreTrainedConfig]
    classes: Mapping[str, str]
    modules: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    derived: Callable[[Any], dict[str, Any]] = lambda config: {}
    classifier: Callable[[Any], dict[str, Any]] = lambda config: {}
    only_with: Mapping[str, Any] = field(default_factory=lambda: {"is_decoder": False, "add_cross_attention": False})
    offset: Callable[[Any], int] = lambda config: 0
    head_act: str | None = None
    masked_lm_module: str = ""
    tokenizer: str = "BertTokenizer"
    base_model_prefix: str | None = None
    unpacked: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]] = lambda config, tensors: tensors

    @property
    def prefix(self) -> str:
        """The prefix of the encoder's tensors in a model with a head."""
        return f"{self.base_model_prefix or self.model_type}."

    @property
    def base(self) -> str:
        """The class of the bare encoder."""
        return next(theirs for theirs, ours in self.classes.items() if ours == "LeanformerModel")

    def settings_of(self, config: Any, ours: str) -> dict[str, Any]:
        """What our config says for theirs, of a model of our class `ours`."""
        found = in_common(config, LeanformerConfig, self.settings) | dict(self.fixed) | self.derived(config)
        if ours in ("LeanformerForSequenceClassification", "LeanformerForMultipleChoice"):
            found |= self.classifier(config)
        return found | {"max_position_embeddings": found["max_position_embeddings"] - self.offset(config)}

    def to_leanformer(self, key: str) -> str | None:
        """bert.pooler.dense.bias -> encoder.pooler.dense.bias; None if the table lacks the module."""
        module, _, leaf = key.rpartition(".")
        return renamed(f"{module}.{LEGACY.get(leaf, leaf)}", self.modules)

    def from_leanformer(self, key: str) -> str | None:
        return renamed(key, {ours: theirs for theirs, ours in self.modules.items()})


def classes(name: str, *heads: str) -> dict[str, str]:
    """The classes of a family called `name`: the bare encoder, and those with these heads."""
    return {f"{name}Model": "LeanformerModel"} | {f"{name}For{head}": OURS[head] for head in heads}


def encoder(prefix: str, layers: Mapping[str, str] = LAYERS, stack: str = "encoder.layer") -> dict[str, str]:
    """The modules of an encoder: embeddings, and a stack of layers."""
    embeddings = {f"{prefix}.embeddings.{k}": f"encoder.embeddings.{v}" for k, v in EMBEDDINGS.items()}
    return embeddings | {f"{prefix}.{stack}.#.{k}": f"encoder.layers.#.{v}" for k, v in layers.items()}


def renamed(key: str, table: Mapping[str, str]) -> str | None:
    module, _, leaf = key.rpartition(".")
    layer = re.search(r"\.(\d+)\.", module)
    new = table.get(module.replace(layer[0], ".#.", 1) if layer else module)
    return None if new is None else f"{new.replace('#', layer[1]) if layer else new}.{leaf}"


def in_common(config: PreTrainedConfig, to: type[PreTrainedConfig], settings: Mapping[str, str]) -> dict[str, Any]:
    """What both families' configs know, by the names of `to`; `settings` translates."""
    known = {field.name for field in fields(to)} - {"transformers_version"}
    pairs = ((settings.get(field.name, field.name), field.name) for field in fields(config))
    return {new: getattr(config, old) for new, old in pairs if new in known}
