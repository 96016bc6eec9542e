"""MPNet (Song et al., 2020): RoBERTa's encoder without token types, whose scores have a bias for distances.

All layers share its table of 32 buckets; here every layer has a copy, in `dot_product+relative_bias`. Positions count
as in RoBERTa.
"""

from typing import Any

from torch import Tensor
from transformers.models.mpnet.configuration_mpnet import MPNetConfig

from leanformer.conversion.checkpoints.families.roberta import HEADS
from leanformer.conversion.checkpoints.names import Family, classes, encoder

LAYERS = {
    "attention.attn.q": "attention.projection.query",
    "attention.attn.k": "attention.projection.key",
    "attention.attn.v": "attention.projection.value",
    "attention.attn.o": "attention.output",
    "attention.attn.relative_bias": "attention.compatibility.relative_bias",
    "attention.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward.up",
    "output.dense": "feed_forward.down",
    "output.LayerNorm": "feed_forward_norm",
}
SHARED = "mpnet.encoder.relative_attention_bias.weight"


def _in_every_layer(config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {key: tensor for key, tensor in tensors.items() if key != SHARED}
    for number in range(config.num_hidden_layers if SHARED in tensors else 0):
        found[f"mpnet.encoder.layer.{number}.attention.attn.relative_bias.table"] = tensors[SHARED].T.clone()
    return found


MPNET = Family(
    model_type="mpnet",
    config=MPNetConfig,
    classes=classes("MPNet", *HEADS),
    modules=encoder("mpnet", LAYERS)
    | {
        "mpnet.pooler.dense": "encoder.pooler.dense",
        "lm_head.dense": "head.transform",
        "lm_head.layer_norm": "head.norm",
        "lm_head": "head.decoder",
        "lm_head.decoder": "head.decoder",
        "classifier.dense": "encoder.pooler.dense",
        "classifier.out_proj": "classifier",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    dropped={"mpnet.pooler.dense": "the pooler, which this class has no use for"},
    fixed={"type_vocab_size": 0, "attention": "dot_product+relative_bias"},
    only_with={"relative_attention_num_buckets": 32},
    offset=lambda config: 2,  # the padding token's number is 1 in its code, whatever the config says
    head_act="gelu",
    masked_lm_module="lm_head.dense",
    tokenizer="MPNetTokenizer",
    unpacked=_in_every_layer,
)
