"""Attention whose scores do not depend on the example: one softmax for a whole batch.

With R (H, L, M) the scores, w = softmax(R) and m_b(j) = 1 where example b has a token at j, else 0,

    context_b = w (m_b v_b) / (w m_b)

which is the softmax over the tokens of b alone: exp(R) m_b, its denominator, is w m_b but for a factor of the row. So
no (B, H, L, M) tensor is ever made, padding or not, and the batch is one matrix product a head. Dropout strikes w once
for the whole batch, not its denominator.

A score further than `FLOOR` below the greatest of its row counts as that far below: e^-70 of a weight is nothing, and
without the bound a row of which padding hides all greater scores would divide zero by zero.
"""

import torch
from torch import Tensor

from leanformer.attention.dropout import dropout as drop
from leanformer.attention.logits import repeated

FLOOR = 70.0
"""Nats; float32 underflows at 87."""


def separated(mask: Tensor | None) -> tuple[Tensor | None, Tensor | None] | None:
    """The mask as (pairs (#H, #L, M), the same for all examples; keys (B, M), the same for all queries), one or both of
    them None; None if it is of neither kind."""
    if mask is None:
        return None, None
    if mask.ndim == 4 and mask.shape[1] == mask.shape[2] == 1:
        return None, mask[:, 0, 0]
    if mask.ndim == 4:
        return (mask[0], None) if mask.shape[0] == 1 else None
    return mask, None


def shared_weights(scores_HLM: Tensor, pairs: Tensor | None = None, causal: bool = False) -> Tensor:
    """w (H, L, M) over the pairs that are allowed; a row without any is zero."""
    length, memory = scores_HLM.shape[-2:]
    if causal:
        past = torch.ones(length, memory, dtype=torch.bool, device=scores_HLM.device).tril(memory - length)
        pairs = past if pairs is None else pairs & past
    if pairs is None:
        return _bounded(scores_HLM).softmax(dim=-1)
    empty = ~pairs.any(dim=-1, keepdim=True)
    hidden = ~(pairs | empty)
    scores_HLM = _bounded(scores_HLM.masked_fill(hidden, float("-inf")))
    return scores_HLM.masked_fill(hidden, float("-inf")).softmax(dim=-1).masked_fill(empty, 0.0)


def shared_rows(weights_HLM: Tensor, value_BHMK: Tensor, keys_BM: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """The context (B, H, L, K); an example without any token to attend to gets zeros."""
    dropped_HLM, value_BHMK = drop(weights_HLM, dropout), repeated(value_BHMK, weights_HLM.shape[0])
    if keys_BM is None:
        return _mixed(dropped_HLM, value_BHMK)
    keys = keys_BM.to(weights_HLM.dtype)
    with torch.autocast(weights_HLM.device.type, enabled=False):  # a bf16 sum of weights is 0.4 % off
        total_HLB = weights_HLM @ keys.transpose(0, 1)
    context_BHLK = _mixed(dropped_HLM, value_BHMK * keys_BM[:, None, :, None])
    total_BHL1 = total_HLB.permute(2, 0, 1)[..., None]
    return context_BHLK / torch.where(total_BHL1 > 0, total_BHL1, 1.0).to(context_BHLK.dtype)


def _mixed(weights_HLM: Tensor, value_BHMK: Tensor) -> Tensor:
    """sum_j w_hij v_bhjk; the batch is folded into the columns, since `matmul` would copy the weights to it. So are the
    heads, where all have the same weights, (1, L, M)."""
    size, heads, _, width = value_BHMK.shape
    if len(weights_HLM) == 1:
        columns = value_BHMK.permute(2, 0, 1, 3).flatten(1)
        return (weights_HLM[0] @ columns).unflatten(-1, (size, heads, width)).permute(1, 2, 0, 3)
    columns = value_BHMK.permute(1, 2, 0, 3).flatten(-2)
    return (weights_HLM @ columns).unflatten(-1, (size, width)).permute(2, 0, 1, 3)


def _bounded(scores: Tensor) -> Tensor:
    return torch.maximum(scores, scores.amax(dim=-1, keepdim=True).detach() - FLOOR)
