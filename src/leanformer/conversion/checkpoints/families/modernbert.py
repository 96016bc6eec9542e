"""ModernBERT (Warner et al., 2024): rotary positions, gated feed-forward layers, norms before the sublayers but the
first, no biases, and attention within a window in all but every n-th layer.

Queries, keys and values are stored as one map, and so are gate and up. Its heads but the masked-LM one have a norm
between dense map and classifier, which ours have not.
"""

from typing import Any

from torch import Tensor
from transformers.models.modernbert.configuration_modernbert import ModernBertConfig

from leanformer.conversion.checkpoints.names import Family, classes

LAYERS = {
    "attn_norm": "attention_norm",
    "attn.query": "attention.projection.query",
    "attn.key": "attention.projection.key",
    "attn.value": "attention.projection.value",
    "attn.Wo": "attention.output",
    "mlp_norm": "feed_forward_norm",
    "mlp.gate": "feed_forward.gate",
    "mlp.up": "feed_forward.up",
    "mlp.Wo": "feed_forward.down",
}
STACKED = {
    ".attn.Wqkv.weight": (".attn.query.weight", ".attn.key.weight", ".attn.value.weight"),
    ".mlp.Wi.weight": (".mlp.gate.weight", ".mlp.up.weight"),
}


def _layers(config: Any) -> dict[str, Any]:
    """Which layers attend to all tokens, and the rotations of both kinds."""
    kinds, rotary = config.layer_types, config.rope_parameters
    for kind in set(kinds):
        if rotary[kind].get("rope_type", "default") != "default":
            raise ValueError(f"leanformer cannot express rope_type = {rotary[kind]['rope_type']!r}, only 'default'")
    found = {"rotary_base": rotary["full_attention"]["rope_theta"]}
    if "sliding_attention" not in kinds:
        return found
    period = next((number for number in range(1, len(kinds)) if kinds[number] == "full_attention"), len(kinds))
    if kinds != ["sliding_attention" if number % period else "full_attention" for number in range(len(kinds))]:
        raise ValueError(
            f"layer_types = {kinds}: leanformer can express full attention in the first and every n-th layer only"
        )
    base = rotary["sliding_attention"]["rope_theta"]
    return found | {
        "sliding_window": config.sliding_window,
        "global_attn_every_n_layers": period,
        "local_rotary_base": base,
    }


def _unstacked(config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = dict[str, Tensor]()
    for key, tensor in tensors.items():
        end = next((end for end in STACKED if key.endswith(end)), None)
        if end is None or tensor.ndim != 2 or len(tensor) % len(STACKED[end]):
            found[key] = tensor  # damaged, it has no place
            continue
        parts = [key.removesuffix(end) + part for part in STACKED[end]]
        found |= zip(parts, tensor.chunk(len(parts)), strict=True)
    return found


MODERNBERT = Family(
    model_type="modernbert",
    base_model_prefix="model",
    config=ModernBertConfig,
    classes=classes("ModernBert", "MaskedLM"),
    modules={
        "model.embeddings.tok_embeddings": "encoder.embeddings.word_embeddings",
        "model.embeddings.norm": "encoder.embeddings.norm",
        "model.final_norm": "encoder.last_norm",
        "head.dense": "head.transform",
        "head.norm": "head.norm",
        "decoder": "head.decoder",
    }
    | {f"model.layers.#.{theirs}": f"encoder.layers.#.{ours}" for theirs, ours in LAYERS.items()},
    settings={
        "norm_eps": "layer_norm_eps",
        "hidden_activation": "hidden_act",
        "mlp_dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    },
    fixed={
        "type_vocab_size": 0,
        "positions": "rotary",
        "norm": "pre",
        "first_norm": False,
        "biases": False,
        "feed_forward": "gated",
    },
    derived=_layers,
    only_with={
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "classifier_activation": "gelu",
    },
    head_act="gelu",
    masked_lm_module="head.dense",
    tokenizer="PreTrainedTokenizerFast",
    unpacked=_unstacked,
)
