"""ALBERT (Lan et al., 2020): one layer's weights for all layers of a group, and factorised embeddings.

Each of the `num_hidden_groups` groups has I = `inner_group_num` layers, which are applied one behind the other in every
pass of the group: `num_hidden_layers` counts passes. With g the group of pass p, layer p I + i of the computed stack is
block g I + i, and `layer_sharing` says so where it has a value for that:

    one group of one layer        all
    groups of one layer           blocks:N
    one group of several layers   cycle:N

Any other, or one whose passes are divided unequally, has a copy of the weights for each layer, equal at first. Its
trunk is read as BERT's, and its classifiers are a pooler and a map.
"""

import re
from typing import Any

from torch import Tensor
from transformers.models.albert.configuration_albert import AlbertConfig

from leanformer.conversion.checkpoints.names import Family, classes, encoder
from leanformer.models.layer_sharing import NONE, layer_sharing

MOST = 10_000
"""The most layers whose sharing is looked for; a config with more is refused."""

LAYERS = {
    "attention.query": "attention.projection.query",
    "attention.key": "attention.projection.key",
    "attention.value": "attention.projection.value",
    "attention.dense": "attention.output",
    "attention.LayerNorm": "attention_norm",
    "ffn": "feed_forward.up",
    "ffn_output": "feed_forward.down",
    "full_layer_layer_norm": "feed_forward_norm",
}
GROUPED = r"albert\.encoder\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.(.+)"


def _sizes(config: Any) -> dict[str, Any]:
    for key in ("num_hidden_groups", "inner_group_num"):
        if getattr(config, key) < 1:
            raise ValueError(f"{key} = {getattr(config, key)} must be positive: copy or download it again")
    if config.embedding_size == config.hidden_size:
        raise ValueError(
            f"embedding_size = hidden_size = {config.hidden_size}: ALBERT maps embeddings to the trunk even then, "
            "leanformer only where the widths differ, so it cannot express this one"
        )
    layers = config.num_hidden_layers * config.inner_group_num
    return {"num_hidden_layers": layers} | ({"layer_sharing": _sharing(config)} if layers <= MOST else {})


def _blocks(config: Any) -> list[int]:
    """Returns the number of the stored block that each computed layer is."""
    passes, inner = config.num_hidden_layers, config.inner_group_num
    group_of = [int(number / (passes / config.num_hidden_groups)) for number in range(passes)]  # rounded as theirs
    return [group * inner + layer for group in group_of for layer in range(inner)]


def _sharing(config: Any) -> str:
    """Returns the `layer_sharing` of the same blocks, "none" if there is none."""
    blocks = _blocks(config)
    stored = len(set(blocks))
    for value in ("none", "all", f"blocks:{stored}", f"cycle:{stored}"):
        if list(layer_sharing(value, len(blocks)).blocks) == blocks:
            return value
    return NONE


def _placed(config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every block as albert.encoder.layer.N, once where layers share it, and else once per layer that it is."""
    inner, found = config.inner_group_num, dict[str, Tensor]()
    if inner * config.num_hidden_groups > len(tensors):
        raise ValueError(
            f"num_hidden_groups x inner_group_num = {config.num_hidden_groups} x {inner} layers are more than there "
            "are weights: copy or download it again"
        )
    blocks = _blocks(config)
    if _sharing(config) != NONE:
        blocks = sorted(set(blocks))
    for key, tensor in tensors.items():
        grouped = re.fullmatch(GROUPED, key)
        if grouped is None:
            found[key] = tensor
            continue
        own = int(grouped[1]) * inner + int(grouped[2])
        for number, block in enumerate(blocks):
            if block == own:
                found[f"albert.encoder.layer.{number}.{grouped[3]}"] = tensor.clone()
    return found


ALBERT = Family(
    model_type="albert",
    config=AlbertConfig,
    classes=classes(
        "Albert", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"
    ),
    aliases={"AlbertForPreTraining": "AlbertForMaskedLM"},
    modules=encoder("albert", LAYERS)
    | {
        "albert.encoder.embedding_hidden_mapping_in": "encoder.embeddings.projection",
        "albert.pooler": "encoder.pooler.dense",
        "predictions.dense": "head.transform",
        "predictions.LayerNorm": "head.norm",
        "predictions": "head.decoder",  # ALBERT holds the decoder's bias twice
        "predictions.decoder": "head.decoder",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    dropped={
        "albert.pooler": "the pooler, which this class has no use for",
        "sop_classifier.classifier": "the sentence-order head",
    },
    settings={"classifier_dropout_prob": "classifier_dropout"},
    derived=_sizes,
    only_with={},
    masked_lm_module="predictions.dense",
    tokenizer="AlbertTokenizer",
    unpacked=_placed,
)
