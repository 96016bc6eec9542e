"""Multi-similarity loss (Wang et al., 2019, "Multi-Similarity Loss with General Pair Weighting for Deep Metric
Learning", equations 9, 10 and 13): rows that mean the same together, others apart.

    S_ij = x_i . x_j       P_i = { j != i : y_j = y_i },  N_i = { j : y_j != y_i }

    mined     P'_i = { p in P_i : S_ip < max_{N_i} S_in + epsilon }      the hard ones only
              N'_i = { n in N_i : S_in > min_{P_i} S_ip - epsilon }

    loss_i = 1/alpha log(1 + sum_{P'_i} e^{-alpha (S_ip - base)}) + 1/beta log(1 + sum_{N'_i} e^{beta (S_in - base)})

A row without an other of its kind, or with nothing else beside it, has nothing to be mined against: its sums are empty.
Mining picks, it is not learned through. B rows, D width.
"""

import math

import torch
from torch import Tensor


def multi_similarity_loss(
    vectors_BD: Tensor,
    labels_B: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float = 0.2,
) -> Tensor:
    """Returns the loss of each row (B,), in the dtype of the vectors, which are of unit length; labels are any
    integers."""
    cosine_BB = vectors_BD @ vectors_BD.T
    positive_BB, negative_BB = mined(cosine_BB.detach(), labels_B, epsilon)
    together_B = _log_one_plus_sum(-alpha * (cosine_BB - base), positive_BB) / alpha
    apart_B = _log_one_plus_sum(beta * (cosine_BB - base), negative_BB) / beta
    return together_B + apart_B


def mined(cosine_BB: Tensor, labels_B: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Returns (B, B) booleans: the pairs of row i that count, of one label and of two."""
    same_BB = labels_B[:, None] == labels_B[None, :]
    others_BB = same_BB & ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
    hardest_negative_B1 = cosine_BB.masked_fill(same_BB, -math.inf).amax(1, keepdim=True)
    hardest_positive_B1 = cosine_BB.masked_fill(~others_BB, math.inf).amin(1, keepdim=True)
    positive_BB = others_BB & (cosine_BB < hardest_negative_B1 + epsilon)
    negative_BB = ~same_BB & (cosine_BB > hardest_positive_B1 - epsilon)
    return positive_BB, negative_BB


def _log_one_plus_sum(exponents_BB: Tensor, counted_BB: Tensor) -> Tensor:
    """Returns log(1 + sum of e^x over what counts), (B,), which no exponent overflows."""
    exponents_BB = exponents_BB.masked_fill(~counted_BB, -math.inf)
    return torch.cat([torch.zeros_like(exponents_BB[:, :1]), exponents_BB], dim=1).logsumexp(1)
