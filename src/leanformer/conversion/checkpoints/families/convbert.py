"""ConvBERT (Jiang et al., 2020): ELECTRA's embeddings and heads, half of its heads convolutions, grouped feed-forward.

Neither published code masks the convolution: with padding a sequence differs from the same one alone. What is read here
has `mask_conv` off, so that outputs are the checkpoint's; `--set mixer_options.mask_conv=true` stops the leak. A
classifier of sequences has the layers' activation where BERT's pooler has a tanh.
"""

from typing import Any

from torch import Tensor
from transformers.models.convbert.configuration_convbert import ConvBertConfig

from leanformer.conversion.checkpoints.names import LAYERS, Family, classes, encoder

CONVOLUTION = {
    "attention.self.key_conv_attn_layer.depthwise": "attention.convolution.depthwise",
    "attention.self.key_conv_attn_layer.pointwise": "attention.convolution.span",
    "attention.self.key_conv_attn_layer": "attention.convolution.span",  # its bias
    "attention.self.conv_kernel_layer": "attention.convolution.weights",
    "attention.self.conv_out_layer": "attention.convolution.value",
}


def _mixing(config: Any) -> dict[str, Any]:
    """A ratio of more than all heads leaves one, as all heads do."""
    ratio = min(config.head_ratio, config.num_attention_heads)
    options = {"head_ratio": ratio, "kernel": config.conv_kernel_size, "mask_conv": False}
    return {"mixer": "convolution", "mixer_options": options}


def _flat(config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The pointwise map is kept as a convolution of one tap, and its bias as a column."""
    pointwise = (".key_conv_attn_layer.pointwise.weight", ".key_conv_attn_layer.bias")
    return {key: tensor.squeeze(-1) if key.endswith(pointwise) else tensor for key, tensor in tensors.items()}


CONVBERT = Family(
    model_type="convbert",
    config=ConvBertConfig,
    classes=classes("ConvBert", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering"),
    modules=encoder("convbert", LAYERS | CONVOLUTION)
    | {
        "convbert.embeddings_project": "encoder.embeddings.projection",
        "generator_predictions.dense": "head.transform",
        "generator_predictions.LayerNorm": "head.norm",
        "generator_lm_head": "head.decoder",
        "classifier.dense": "encoder.pooler.dense",
        "classifier.out_proj": "classifier",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    settings={"num_groups": "feed_forward_groups"},
    derived=_mixing,
    classifier=lambda config: {"pooler_act": config.hidden_act},
    head_act="gelu",
    masked_lm_module="generator_predictions.dense",
    unpacked=_flat,
)
