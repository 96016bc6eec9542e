"""What a model costs, in closed form: parameters, and floating point operations of its matrix products.

    D width, E heads x head size, I intermediate width, V vocabulary, P positions, T token types, C classes,
    L sequence length, N scored tokens

    embeddings     (V + P + T) D, without P for rotary positions        looked up: no products
    attention      the mechanism's own count + E D + D a layer          the mechanism's own + 2 L E D
    feed forward   2 D I + I + D a layer                                4 L D I
    norms          2 D each, one behind the embeddings and two a layer  none
    pooler         D^2 + D                                              2 D^2
    masked-LM head D^2 + 3 D + V, its matrix the embeddings' if tied    2 N (D^2 + D V)
    classifier     C D + C                                              2 D C for every scored token

A multiply-add counts two; the backward pass counts twice the forward one, since each product has two factors to learn.
"""

from typing import Any

from leanformer.attention import mechanism
from leanformer.models.config import LeanformerConfig

HEADS = ("none", "masked_lm", "sequence_classification", "token_classification", "question_answering")


def ledger(
    config: LeanformerConfig, sequence_length: int, masked_per_sequence: int | None = None, head: str = "masked_lm"
) -> dict[str, dict[str, Any]]:
    """Counts of the model with this head ("none": the bare encoder with its pooler).

    Parameters over all layers; `attention_qkv`, all of attention but its output projection, is a part of `attention`.
    FLOPs for a token of a sequence of `sequence_length`, whose masked-LM head runs on `masked_per_sequence` of its
    tokens (None: on all of them).
    """
    if head not in HEADS:
        raise ValueError(f"head = {head!r}: known are {', '.join(HEADS)}")
    length, width, inner = sequence_length, config.hidden_size, config.intermediate_size
    layers, shape, options = config.num_hidden_layers, config.shape(), config.attention_options
    attention, pooled = mechanism(config.attention), head in ("none", "sequence_classification")
    qkv = layers * attention.num_params(shape, **options)
    tables = config.vocab_size + config.type_vocab_size
    if config.positions == "learned":
        tables += config.max_position_embeddings
    parameters = {
        "embeddings": tables * width,
        "attention": qkv + layers * shape.output_params,
        "feed_forward": layers * (2 * width * inner + inner + width),
        "norms": (1 + 2 * layers) * 2 * width,
        "pooler": width * (width + 1) if pooled else 0,
        "head": _head_params(config, head),
    }
    parameters |= {"total": sum(parameters.values()), "attention_qkv": qkv}
    scored = length if masked_per_sequence is None else masked_per_sequence
    flops = {
        "attention": layers * (attention.flops(shape, length, **options) + shape.linear_flops(length)) / length,
        "feed_forward": layers * 4 * width * inner,
        "head": (_head_flops(config, head, length, scored) + (2 * width**2 if pooled else 0)) / length,
    }
    forward = sum(flops.values())
    return {"parameters": parameters, "flops_per_token": flops | {"forward": forward, "training": 3 * forward}}


def _head_params(config: LeanformerConfig, head: str) -> int:
    width, vocabulary = config.hidden_size, config.vocab_size
    if head == "masked_lm":
        untied = 0 if config.tie_word_embeddings else vocabulary * width
        return width**2 + 3 * width + vocabulary + untied
    return _classes(config, head) * (width + 1)


def _head_flops(config: LeanformerConfig, head: str, length: int, scored: int) -> int:
    width = config.hidden_size
    if head == "masked_lm":
        return 2 * scored * width * (width + config.vocab_size)
    tokens = 1 if head == "sequence_classification" else length
    return 2 * tokens * width * _classes(config, head)


def _classes(config: LeanformerConfig, head: str) -> int:
    return {"none": 0, "question_answering": 2}.get(head, config.num_classes())
