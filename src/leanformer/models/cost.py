"""What a model costs, in closed form: parameters, and floating point operations of its matrix products.

    D width, F that of the embeddings, E heads x head size, I intermediate width, V vocabulary, P positions,
    T token types, C classes, L sequence length, N scored tokens; b = 1 with biases, else 0; m = 2 matrices of a
    feed-forward layer, gated 3

    embeddings     (V + P + T) F, without P for rotary positions        looked up: no products
                   and F D + b D if F is not D                          2 L F D
    attention      the mixer's own count a layer, with E D + b D for    the mixer's own, with 2 L E D
                   an output map, less what shared heads do not store
                   (`head_bank`); of a mixer that is plain attention
                   the mechanism's
    feed forward   m D I / G + b ((m - 1) I + D) a layer, G groups      2 m L D I / G
    norms          D + b D each, one behind the embeddings (F), two a   none
                   layer, and if they are "pre" one behind the last;
                   one less without `first_norm`
    pooler         D^2 + D                                              2 D^2
    masked-LM head D F + F + 2 b F + V, its matrix the embeddings'      2 N (D F + F V)
                   if tied
    classifier     C D + C                                              2 D C for every scored token
    LM head        none, or D V if its matrix is not the embeddings'    2 L D V

The last block of an encoder is computed where a head reads from it (`attention/some_queries.py`): at the N scored
tokens of a masked-LM head, at the one token of a pooler. Its FLOPs are those of N queries that attend to L tokens, of
an output map and a feed-forward layer of N tokens. A mixer says what it saves (`count_unread_flops`): one of a plug-in
that computes in its own way saves nothing, and the feed-forward layer alone does.

Layers that share weights (`layer_sharing`) have those once: the parameters are of distinct blocks, the FLOPs of all
layers. Of keys and values that layers share both are fewer. Maps made of atoms (`atoms`) take a product each, once for
a whole batch.

Another block type (`block_types`) declares the number of norms and of feed-forward layers in a layer; what else it has
counts as feed forward. A decoder has no token types. An encoder-decoder is an encoder and a decoder, whose layers are
sequential and have a second attention and a third norm; the table of words is there once, or twice if embeddings are
not tied. Source and target are of L tokens.

A multiply-add counts two; the backward pass counts twice the forward one, since each product has two factors to learn;
but for frozen scores, where it has one, and what no gradient goes through.
What a causal mask or a sliding window hides is counted: the products are made and then masked. So is all a batch might
share.
"""

from collections import Counter
from typing import Any

from leanformer.attention import mechanism, mixer
from leanformer.models.atoms import map_sizes
from leanformer.models.block_types import SEQUENTIAL, block
from leanformer.models.config import LeanformerConfig
from leanformer.models.head_bank import saved_params
from leanformer.models.layer_sharing import layer_sharing

HEADS = (
    "none",
    "masked_lm",
    "sequence_classification",
    "token_classification",
    "question_answering",
    "multiple_choice",
    "causal_lm",
    "seq2seq",
)


POOLED = ("none", "sequence_classification", "multiple_choice")


def ledger(
    config: LeanformerConfig, sequence_length: int, masked_per_sequence: int | None = None, head: str = "masked_lm"
) -> dict[str, Any]:
    """Returns the counts of the model with this head ("none": the bare encoder with its pooler).

    Parameters over all layers; `attention_qkv`, all of attention but its output projection, is a part of `attention`.
    FLOPs for a token of a sequence of `sequence_length`, whose masked-LM head runs on `masked_per_sequence` of its
    tokens (None: on all of them); "seq2seq" for a source token and a target token together. `scores_per_token` are a
    token's over all heads and layers, the rows of the score matrices: what a mixer may save.
    """
    if head not in HEADS:
        raise ValueError(f"head = {head!r}: known are {', '.join(HEADS)}")
    length, width = sequence_length, config.hidden_size
    pooled = head in POOLED
    scored = length if masked_per_sequence is None else masked_per_sequence
    parameters = Counter(pooler=width * (width + 1) if pooled else 0, head=_head_params(config, head))
    flops = Counter(head=_head_flops(config, head, length, scored) + (2 * width**2 if pooled else 0))
    if head != "causal_lm":
        self_attention = (config.attention, config.attention_options, config.mixer, config.mixer_options)
        kind, layers = block(config.block), config.num_hidden_layers
        _add_stack(parameters, flops, config, length, layers, [self_attention], kind.norms, kind.feed_forwards)
        parameters["feed_forward"] += layer_sharing(config.layer_sharing, layers).stored * kind.count_params(config)
        flops["feed_forward"] += layers * kind.count_flops(config, length)
        read = {"masked_lm": masked_per_sequence, "sequence_classification": 1, "multiple_choice": 1}.get(head)
        if read and kind.forward is block(SEQUENTIAL).forward:
            _subtract_unread(flops, config, length, read, self_attention)
        if config.shared_heads is not None:
            saved = saved_params(config.shared_heads, config.projection(), config.shape(), config.num_hidden_layers)
            parameters["attention_qkv"] -= saved[0]
            parameters["attention"] -= sum(saved)
        narrow = config.embedding_width()
        parameters["embeddings"] += (config.vocab_size + config.type_vocab_size) * narrow
        if narrow != width:
            parameters["embeddings"] += (narrow + config.biases) * width
            flops["embeddings"] += 2 * length * narrow * width
    if head in ("causal_lm", "seq2seq"):
        attentions: list[Attention] = [(*config.decoder_self_attention(), config.mixer, config.mixer_options)]
        if head == "seq2seq":
            attentions.append((config.cross_attention, config.cross_attention_options, "attention", {}))
        kind, depth = block(config.block) if head == "causal_lm" else block(SEQUENTIAL), config.decoder_depth()
        _add_stack(parameters, flops, config, length, depth, attentions, norms=kind.norms - 1 + len(attentions))
        stored = layer_sharing(config.layer_sharing, depth).stored
        parameters["feed_forward"] += stored * kind.count_params(config)
        shared = head == "seq2seq" and config.tie_word_embeddings
        parameters["embeddings"] += 0 if shared else config.vocab_size * width
    qkv = parameters.pop("attention_qkv")
    total = {"total": sum(parameters.values()), "attention_qkv": qkv}
    per_token = {part: flops[part] / length for part in ("embeddings", "attention", "feed_forward", "head")}
    forward = sum(per_token.values())
    training = 3 * forward - flops["unlearned"] / length
    return {
        "parameters": {part: parameters[part] for part in PARTS} | total,
        "flops_per_token": per_token | {"forward": forward, "training": training},
        "scores_per_token": flops["scores"] // length,
    }


PARTS = ("embeddings", "attention", "feed_forward", "norms", "pooler", "head")
"""What parameters belong to."""
Attention = tuple[str, dict[str, Any], str, dict[str, Any]]
"""A mechanism with its options, and a mixer with its own."""


def _add_stack(
    parameters: Counter[str],
    flops: Counter[str],
    config: LeanformerConfig,
    length: int,
    layers: int,
    attentions: list[Attention],
    norms: int,
    feed_forwards: int = 1,
) -> None:
    """Adds the counts of layers with these attentions, norms and feed-forward layers each, and the positions and the
    norm before them."""
    width, inner, shape = config.hidden_size, config.intermediate_size, config.shape()
    sharing = layer_sharing(config.layer_sharing, layers)
    stored = sharing.stored_parts("attention")
    for memory, attention in zip((None, length), attentions, strict=False):  # the second is cross-attention
        name, options, kind, mixing = attention
        inside, around = mechanism(name), mixer(kind)
        own = stored * around.count_params(inside, shape, options, **mixing)
        if memory is None and sharing.readers:
            less = inside.key_value_cost(shape, length, **options)
            own -= sharing.readers * less[0]
            flops["attention"] -= sharing.readers * less[1]
        if memory is None and sharing.atoms:
            groups, count = inside.kv_heads(shape, **options), sharing.atoms
            sizes = map_sizes(inside.projection_class(options), shape, groups, sharing.atomic)
            saved = {each: (layers - count) * size - layers * count for each, size in sizes.items()}
            parameters["attention"] -= saved.pop("output", 0)
            own -= sum(saved.values())
            flops["attention"] += layers * 2 * count * sum(sizes.values())
        parameters["attention_qkv"] += own
        parameters["attention"] += own + stored * around.count_output_params(shape, **mixing)
        flops["attention"] += layers * around.count_flops(inside, shape, options, length, memory, **mixing)
        flops["attention"] += layers * around.count_output_flops(shape, length, **mixing)
        flops["unlearned"] += layers * around.count_unlearned_flops(inside, shape, length, **mixing)
        heads = around.attention_shape(shape, **mixing).num_heads
        flops["scores"] += layers * heads * length * around.count_keys(length, **mixing)
    matrices, bias = 3 if config.feed_forward == "gated" else 2, int(config.biases)
    weights = _feed_forward_weights(config)
    own = sharing.stored_parts("feed_forward") * feed_forwards
    parameters["feed_forward"] += own * (weights + bias * ((matrices - 1) * inner + width))
    flops["feed_forward"] += layers * feed_forwards * 2 * length * weights
    narrow, last = config.embedding_width(), int(config.norm == "pre") - int(not config.first_norm)
    parameters["norms"] += (1 + bias) * (narrow + (norms * sharing.stored + last) * width)
    parameters["embeddings"] += config.max_position_embeddings * narrow if config.positions == "learned" else 0


def _subtract_unread(flops: Counter[str], config: LeanformerConfig, length: int, read: int, last: Attention) -> None:
    """Take off what the last block does not compute since only `read` tokens of a sequence are read."""
    name, options, kind, mixing = last
    inside, around, shape = mechanism(name), mixer(kind), config.shape()
    flops["feed_forward"] -= 2 * (length - read) * _feed_forward_weights(config)
    flops["attention"] -= around.count_unread_flops(inside, shape, options, length, read, **mixing)
    flops["unlearned"] -= around.count_unlearned_flops(inside, shape, length, **mixing)
    flops["unlearned"] += around.count_unlearned_flops(inside, shape, length, read, **mixing)


def _feed_forward_weights(config: LeanformerConfig) -> int:
    matrices = 3 if config.feed_forward == "gated" else 2
    return matrices * config.hidden_size * config.intermediate_size // config.feed_forward_groups


def _head_params(config: LeanformerConfig, head: str) -> int:
    width, narrow, vocabulary = config.hidden_size, config.embedding_width(), config.vocab_size
    untied = 0 if config.tie_word_embeddings else vocabulary * narrow
    if head in ("causal_lm", "seq2seq"):
        return untied
    if head == "masked_lm":
        return (width + 1 + 2 * config.biases) * narrow + vocabulary + untied
    return _classes(config, head) * (width + 1)


def _head_flops(config: LeanformerConfig, head: str, length: int, scored: int) -> int:
    width = config.hidden_size
    if head == "masked_lm":
        return 2 * scored * config.embedding_width() * (width + config.vocab_size)
    if head in ("causal_lm", "seq2seq"):
        return 2 * length * width * config.vocab_size
    tokens = 1 if head in POOLED else length
    return 2 * tokens * width * _classes(config, head)


def _classes(config: LeanformerConfig, head: str) -> int:
    return {"none": 0, "question_answering": 2, "multiple_choice": 1}.get(head, config.num_classes())
