"""Clusters of tokens by density peaks (Rodriguez and Laio, 2014, "Clustering by fast search and find of density peaks";
with the density of k nearest neighbours, Du, Ding and Jia, 2016).

    d_ij      = |x_i - x_j| / sqrt(D)
    density_i = exp( - mean of the k smallest d_ij^2 ),   the token itself, at distance 0, among them
    far_i     = min d_ij over the j of greater density; of the densest token the largest distance there is
    centres     the M tokens of greatest density_i far_i;   every token joins its nearest centre, a centre itself

Compared are logarithms, in which nothing underflows. Of equals the earlier one counts as the denser and goes first,
where published code adds random noise: so clusters are a function of the input. Padding has no density, and is no
neighbour, no centre and no member. No gradient goes through any of it.

Shape letters: B batch, N tokens, M clusters, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Peaks(NamedTuple):
    """One pass over the tokens, for any number of clusters."""

    squares: Tensor  # B N N, squared distances, -1 of a token to itself, infinite to and from padding
    order: Tensor  # B N, the tokens by their worth as a centre, padding last
    tokens: Tensor  # B N, True where there is one


@torch.no_grad()
def density_peaks(x_BND: Tensor, tokens_BN: Tensor | None = None, neighbours: int = 5) -> Peaks:
    """Returns the peaks, computed in float32 or better. N x N tensors are written over, since passes over them take
    nearly all of the time and the memory."""
    squares = _squared_distances(x_BND)
    if tokens_BN is None:
        tokens_BN = torch.ones(x_BND.shape[:2], dtype=torch.bool, device=x_BND.device)
        largest = squares.amax((-2, -1), keepdim=True)[..., 0]
    else:
        apart = ~(tokens_BN[:, :, None] & tokens_BN[:, None, :])
        largest = squares.masked_fill_(apart, 0.0).amax((-2, -1), keepdim=True)[..., 0]
        squares.masked_fill_(apart, torch.inf)
    # torch.export needs sym_min for a size that it does not know; the compiler of PyTorch 2.11 cannot trace it.
    smaller = min if torch.compiler.is_dynamo_compiling() else torch.sym_min
    nearest = squares.topk(smaller(neighbours, squares.shape[-1]), largest=False).values.clamp(min=0.0)
    found = nearest.isfinite()
    log_density = -nearest.masked_fill(~found, 0.0).sum(-1) / found.sum(-1).clamp(min=1)
    log_density = log_density.masked_fill(~tokens_BN, -torch.inf)
    rank_BN = _ranks(log_density)
    far = squares.masked_fill(rank_BN[:, None, :] >= rank_BN[..., None], torch.inf).amin(-1)
    far = torch.where(far.isfinite(), far, largest.clamp(min=0.0))
    least = torch.finfo(squares.dtype).min
    worth = (log_density + 0.5 * far.log()).clamp(min=least).masked_fill(~tokens_BN, -torch.inf)
    return Peaks(squares, _inverse(_ranks(worth)), tokens_BN)


@torch.no_grad()
def members(peaks: Peaks, most: int, counts_B: Tensor) -> Tensor:
    """(B, M, N), True where a token belongs to a cluster, of which an example has as many as `counts` says: M =
    `most` at most, and the others stay empty."""
    centres_BM = peaks.order[:, :most]
    number_M = torch.arange(centres_BM.shape[1], device=centres_BM.device)
    to_centre = peaks.squares.gather(-1, centres_BM[:, None, :].expand(-1, peaks.squares.shape[1], -1))
    to_centre = to_centre.masked_fill((number_M >= counts_B[:, None])[:, None, :], torch.inf)
    joined_BN = to_centre.argmin(-1)
    return (joined_BN[:, None, :] == number_M[:, None]) & peaks.tokens[:, None, :]


def _ranks(value_BN: Tensor) -> Tensor:
    """How many go before each: those of greater value, or of an equal one and an earlier place."""
    if torch.compiler.is_exporting():  # ONNX knows no stable sort
        place = torch.arange(value_BN.shape[-1], device=value_BN.device)
        here, there = value_BN[..., None], value_BN[:, None, :]
        return ((there > here) | ((there == here) & (place < place[:, None]))).sum(-1)
    return _inverse(value_BN.sort(stable=True, dim=-1, descending=True).indices)


def _inverse(permutation_BN: Tensor) -> Tensor:
    place = torch.arange(permutation_BN.shape[-1], device=permutation_BN.device).expand_as(permutation_BN)
    return torch.zeros_like(place).scatter(-1, permutation_BN, place)


def _squared_distances(x_BND: Tensor) -> Tensor:
    """d_ij^2, and -1 on the diagonal: 2 N^2 D FLOPs."""
    with torch.autocast(x_BND.device.type, enabled=False):
        x_BND = x_BND.to(torch.promote_types(x_BND.dtype, torch.float32))
        x_BND = x_BND * x_BND.shape[-1] ** -0.5
        norm_BN1 = x_BND.square().sum(-1, keepdim=True)
        squares = (x_BND @ x_BND.transpose(1, 2)).mul_(-2.0).add_(norm_BN1).add_(norm_BN1.transpose(1, 2))
    itself = torch.eye(x_BND.shape[1], dtype=torch.bool, device=x_BND.device)
    return squares.clamp_(min=0.0).masked_fill_(itself, -1.0)
