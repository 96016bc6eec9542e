"""In which architecture settings a model differs from BERT: those that BERT has one value of, or no name for."""

from typing import Any

from leanformer.models.config import LeanformerConfig


def bert_differences(config: LeanformerConfig) -> dict[str, tuple[Any, Any]]:
    """Returns name -> (the model's value, BERT's), of the settings whose values differ."""
    heads, options = config.num_attention_heads, config.attention_options
    settings = {
        "attention": (config.attention, "dot_product"),
        "attention_options.projection": (options.get("projection", "separate"), "separate"),
        "attention_options.kv_heads": (options.get("kv_heads") or heads, heads),
        "positions": (config.positions, "learned"),
        "sliding_window": (config.sliding_window, None),
        "first_norm": (config.first_norm, True),
        "norm": (config.norm, "post"),
        "biases": (config.biases, True),
        "feed_forward": (config.feed_forward, "plain"),
        "qk_norm": (config.qk_norm, False),
        "block": (config.block, "sequential"),
        "mixer": (config.mixer, "attention"),
        "pooler_act": (config.pooler_act, "tanh"),
        "feed_forward_groups": (config.feed_forward_groups, 1),
        "shared_heads": (config.shared_heads, None),
        "layer_sharing": (config.layer_sharing, "none"),
        "embedding_size": (config.embedding_width(), config.hidden_size),
    }
    return {name: values for name, values in settings.items() if values[0] != values[1]}
