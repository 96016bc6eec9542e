"""ALBERT (Lan et al., 2020): one layer's weights for all layers of a group, and factorised embeddings.

Each of the `num_hidden_groups` groups has `inner_group_num` layers, which are applied one behind the other in each of
the group's passes: `num_hidden_layers` counts passes. Here every layer has weights of its own, equal at first, so the
model computes the same and is stored larger. Its trunk is read as BERT's, and its classifiers are a pooler and a map.
"""

import re
from typing import Any

from torch import Tensor
from transformers.models.albert.configuration_albert import AlbertConfig

from leanformer.conversion.checkpoints.names import Family, classes, encoder

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
    return {"num_hidden_layers": config.num_hidden_layers * config.inner_group_num}


def _expanded(config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every layer its own copy of its group's tensors, albert.encoder.layer.N."""
    passes, inner, found = config.num_hidden_layers, config.inner_group_num, dict[str, Tensor]()
    if inner * config.num_hidden_groups > len(tensors):
        raise ValueError(
            f"num_hidden_groups x inner_group_num = {config.num_hidden_groups} x {inner} layers are more than there "
            "are weights: copy or download it again"
        )
    group_of = [int(number / (passes / config.num_hidden_groups)) for number in range(passes)]  # rounded as theirs
    for key, tensor in tensors.items():
        grouped = re.fullmatch(GROUPED, key)
        if grouped is None:
            found[key] = tensor
            continue
        group, layer, module = int(grouped[1]), int(grouped[2]), grouped[3]
        for number in range(passes):
            if group_of[number] == group:
                found[f"albert.encoder.layer.{number * inner + layer}.{module}"] = tensor.clone()
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
    unpacked=_expanded,
)
