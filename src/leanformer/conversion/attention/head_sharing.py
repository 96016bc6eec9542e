"""Head-wise sharing (Cao et al., 2024, "Head-wise Shareable Attention for Large Language Models", Findings of EMNLP).

Head (l, i) owns the rows i K ... (i + 1) K of a layer's query, key and value maps and those columns of its output map.

    match     cos( [W_Q; W_K](l, i), [W_Q; W_K](m, j) )     the best partner in an earlier layer m < l, as flat vectors
    share     the floor(rho L H) heads of the best scores take their partner's maps           (DirectShare)
    penalty   mean over those pairs of |dW_Q| + |dW_K| + |dW_V|, of Frobenius norms, added to a loss before sharing
                                                                                              (PostShare)

A partner may be tied itself: chains end at a root, so that exactly L H - floor(rho L H) blocks are stored. The authors'
code ties W_O besides (`tie` = "qkvo") and leaves chains unresolved, which stores more. Their released scores of
Llama-2-7B are all but zero (0.015 on average): a good score is the exception, and its rank alone says little.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from leanformer.models.config import LeanformerConfig
from leanformer.models.head_bank import TIES, stored
from leanformer.models.initialisation import initialise
from leanformer.spelling import suggest


class Pair(NamedTuple):
    """A head, its partner in an earlier layer, and how alike they are; all counted from zero."""

    layer: int
    head: int
    partner_layer: int
    partner_head: int
    cosine: float


@torch.no_grad()
def match_heads(model: Any, on: str = "qk") -> list[Pair]:
    """The best partner of every head behind the first layer, the best pair first."""
    blocks_LHN = torch.stack([torch.cat(maps, dim=-1) for maps in _blocks(model, on)])
    blocks_LHN = torch.nn.functional.normalize(blocks_LHN.double(), dim=-1)
    layers, heads, _ = blocks_LHN.shape
    cosines = torch.einsum("lhn,mjn->lhmj", blocks_LHN, blocks_LHN)
    pairs = []
    for layer in range(1, layers):
        best = cosines[layer, :, :layer].flatten(1).max(-1)
        for head, (cosine, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            pairs.append(Pair(layer, head, place // heads, place % heads, cosine))
    return sorted(pairs, key=lambda pair: (-pair.cosine, pair.layer, pair.head))


def share_heads(model: Any, rho: float, tie: str = "qk", pairs: Sequence[Pair] | None = None) -> Any:
    """A copy of the model in which floor(`rho` L H) heads have the maps of others; the first `pairs`, else the best
    matches. ValueError for more heads than can be matched, and for a model that shares already."""
    if tie not in TIES:
        raise ValueError(f"tie = {tie!r}; {suggest(tie, TIES)}")
    config, tied = model.config, tied_heads(model.config, rho)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    numbers = roots((match_heads(model) if pairs is None else pairs)[:tied], layers, heads)
    settings = config.to_dict() | {"shared_heads": {"tie": tie, "blocks": numbers} if tied else None}
    pooling = {"add_pooling_layer": model.pooler is not None} if model.base_model is model else {}
    shared = type(model)(LeanformerConfig.from_dict(settings), **pooling)
    initialise(shared, seed=0)
    shared.load_state_dict(model.state_dict(), strict=False)
    if tied:
        _fill(shared, model)
    return shared.to(next(model.parameters()).dtype).train(model.training)


def tied_heads(config: LeanformerConfig, rho: float) -> int:
    """floor(`rho` L H); ValueError for more heads than can be matched, and for a model that shares already."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if config.mixer != "attention":
        raise ValueError(f"model.mixer = {config.mixer!r}: heads of attention alone can be shared")
    if config.shared_heads is not None:
        raise ValueError("the model's heads are shared already: share those of the model it was made of")
    tied = int(rho * layers * heads + 1e-9) if 0 <= rho <= 1 else -1
    if not 0 <= tied <= (layers - 1) * heads:
        raise ValueError(
            f"share_heads = {rho}: from 0 to {(layers - 1) / layers:.3g}, since the first layer's heads have no partner"
        )
    return tied


def roots(pairs: Sequence[Pair], layers: int, heads: int) -> list[list[int]]:
    """The number of every head's block, counted in the order of the heads that keep their own."""
    partners = {(pair.layer, pair.head): (pair.partner_layer, pair.partner_head) for pair in pairs}
    numbers: dict[tuple[int, int], int] = {}
    for place in ((layer, head) for layer in range(layers) for head in range(heads)):
        partner = partners.get(place)
        numbers[place] = len(set(numbers.values())) if partner is None else numbers[partner]
    return [[numbers[layer, head] for head in range(heads)] for layer in range(layers)]


def post_share_penalty(model: Any, pairs: Sequence[Pair], on: str = "qkv") -> Tensor:
    """The mean above, of the maps that `on` names; differentiable, for a training objective to add.

    Norms, not their squares: a pair's maps move towards each other at one speed, however near they are.
    """
    blocks = _blocks(model, on)
    distances = [
        torch.linalg.vector_norm(there[pair.head] - here[pair.partner_head])
        for pair in pairs
        for there, here in zip(blocks[pair.layer], blocks[pair.partner_layer], strict=True)
    ]
    if not distances:
        raise ValueError("post_share_penalty needs pairs: take those that match_heads gives")
    return torch.stack(distances).sum() / len(pairs)


def stored_blocks(model: Any) -> int:
    """Head blocks of each shared map."""
    config = model.config
    shared = config.shared_heads
    return config.num_hidden_layers * config.num_attention_heads if shared is None else stored(shared)


def _blocks(model: Any, on: str) -> list[list[Tensor]]:
    """Returns, per layer, each map's blocks as flat vectors (H, K D)."""
    heads, names = model.config.num_attention_heads, model.config.tied_maps(on)
    found = []
    for layer in model.base_model.layers:
        weights = {name: _map(layer.attention, name).weight for name in names}
        rows = [weight.T if name == "output" else weight for name, weight in weights.items()]
        found.append([each.reshape(heads, -1) for each in rows])
    return found


@torch.no_grad()
def _fill(shared: Any, model: Any) -> None:
    size = model.config.shape().head_size
    for name, bank in shared.base_model.head_banks.items():
        maps = [_map(layer.attention, name) for layer in model.base_model.layers]
        # From the last layer to the first: what stays in the bank is the root's, which is the first of its number.
        for linear, numbers in reversed(list(zip(maps, shared.config.shared_heads["blocks"], strict=True))):
            blocks = linear.weight.split(size, dim=1 if name == "output" else 0)
            for head, number in enumerate(numbers):
                bank.weight[number] = blocks[head]
                if bank.biased:
                    bank.bias[number] = linear.bias.split(size)[head]


def _map(attention: Any, name: str) -> Any:
    return attention.output if name == "output" else getattr(attention.projection, name)
