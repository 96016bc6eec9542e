"""Attention of some queries only: the last block of an encoder is needed where something is read from it.

A masked-LM head reads N masked places of L, a pooler one. The last block's keys and values are needed everywhere, its
queries, output map and feed-forward layer at these places alone, with equal values and gradients.

Shape letters: B batch, L length, N places per sequence, H heads, M memory length, C any.
"""

from torch import Tensor, arange


def take(x_BLC: Tensor, places_BN: Tensor) -> Tensor:
    """Returns x[b, places[b, n]], (B, N, C), of x (B, L, C) or (1, L, C); whole rows are copied."""
    size, length = places_BN.shape[0], x_BLC.shape[1]
    first = arange(size, device=places_BN.device)[:, None] * length
    rows = x_BLC.expand(size, -1, -1).flatten(0, 1)
    return rows.index_select(0, (places_BN + first).flatten()).unflatten(0, places_BN.shape)


def mask_at(mask: Tensor | None, places_BN: Tensor) -> Tensor | None:
    """Returns the rows of these queries of a mask that is broadcastable to (B, H, L, M)."""
    if mask is None or mask.ndim < 2 or mask.shape[-2] == 1:
        return mask
    mask = mask[(None,) * (4 - mask.ndim)]
    heads = mask.shape[1]
    return take(mask.transpose(1, 2).flatten(-2), places_BN).unflatten(-1, (heads, -1)).transpose(1, 2)
