"""The one place that turns scores into a context: the only softmax, mask and dropout.

    context_i = sum_j softmax_j(logits_ij) value_j        over the j that the mask allows

There are four ways to the same numbers, and `choose_path` says which one a case takes:

    plain          the formula, with a (B, H, L, M) matrix
    fused          one of PyTorch's kernels for dot products
    flex           FlexAttention: a dot product and a bias that learns, on CUDA
    shared_rows    scores that no example has a part in: one softmax for the whole batch

`mask` is boolean, True = may attend, broadcastable to (B, H, L, M); with `causal` a query sees up to its own place
besides, the last query being the last of the memory. A row that may attend to nothing yields zeros on every path.

Shape letters: B batch, L query length, M memory length, H heads, K head size.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from leanformer.attention.dropout import dropout as drop
from leanformer.attention.flex import flex_attend
from leanformer.attention.logits import Logits, repeated
from leanformer.attention.shared_rows import separated, shared_rows, shared_weights

Path = Literal["plain", "fused", "flex", "shared_rows"]

PLAIN_UP_TO = 1024
"""Positions up to which bf16 attention on a CPU is computed by the plain formula where it learns."""


def attend(
    logits: Logits,
    value_BHMK: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    *,
    causal: bool = False,
    fused: bool = True,
) -> Tensor:
    """The context (B, H, L, K) of values of H heads or fewer; `dropout` is the probability in force now: 0 outside
    training."""
    path = choose_path(logits, value_BHMK, mask, dropout, fused=fused)
    if path == "shared_rows":
        separate = separated(mask)
        assert logits.bias is not None and separate is not None
        pairs, keys = separate
        weights_HLM = shared_weights(logits.bias[0], pairs, causal)
        return shared_rows(weights_HLM, value_BHMK, keys, dropout)
    if path == "plain":
        weights_BHLM = attention_weights(logits, mask, dropout, causal=causal)
        return weights_BHLM @ repeated(value_BHMK, weights_BHLM.shape[1])
    query, key, bias = logits
    assert query is not None and key is not None
    grouped = _takes_groups(query, key, value_BHMK, masked=mask is not None or bias is not None or path == "flex")
    if not grouped:
        key, value_BHMK = (repeated(each, query.shape[1]) for each in (key, value_BHMK))
    length, memory = query.shape[-2], key.shape[-2]
    if path == "fused" and bias is None and mask is None and (not causal or length in (1, memory)):
        is_causal = bool(causal and length > 1)  # exported, the length is a symbol, and so is what is said of it
        return F.scaled_dot_product_attention(
            query, key, value_BHMK, None, dropout, is_causal, scale=1.0, enable_gqa=grouped
        )
    allowed = with_causal(mask, length, memory, query.device) if causal else mask
    allowed, empty = (None, None) if allowed is None else _without_empty_rows(allowed)
    if path == "flex":
        assert bias is not None
        context_BHLK = flex_attend(query, key, value_BHMK, bias, allowed)
    else:
        if bias is not None:
            # A view of a parameter says it requires gradients even where none are recorded, and the kernel believes it.
            bias = bias.detach().to(query.dtype)
            allowed = bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
        context_BHLK = F.scaled_dot_product_attention(
            query, key, value_BHMK, allowed, dropout, scale=1.0, enable_gqa=grouped
        )
    return context_BHLK if empty is None else context_BHLK.masked_fill(empty, 0.0)


def attention_weights(
    logits: Logits, mask: Tensor | None = None, dropout: float = 0.0, *, causal: bool = False
) -> Tensor:
    """softmax_j(logits_ij), after mask and dropout; broadcastable to (B, H, L, M)."""
    scores = logits.dense()
    if causal:
        mask = with_causal(mask, scores.shape[-2], scores.shape[-1], scores.device)
    if mask is None:
        weights = softmax(scores)
    else:
        mask, empty = _without_empty_rows(mask)
        weights = softmax(scores.masked_fill(~mask, float("-inf"))).masked_fill(empty, 0.0)
    return drop(weights, dropout)


def softmax(scores: Tensor) -> Tensor:
    """Over the last axis, computed in float32 or better, and rounded to the type of `scores`.

    Autocast would leave it in float32, to be rounded for the product with the values all the same, after dropout.
    """
    with torch.autocast(scores.device.type, enabled=False):
        return scores.softmax(dim=-1)


def choose_path(
    logits: Logits, value_BHMK: Tensor, mask: Tensor | None = None, dropout: float = 0.0, *, fused: bool = True
) -> Path:
    """Which way takes this case, and is the fastest; `fused=False` asks for the plain formula.

    A fused kernel on a CPU refuses dropout, vectors compared in another size than the values', and a bias that learns:
    PyTorch then runs the plain formula behind the same name. In bf16 with the backward pass it is slower than two
    products, three times at 128 positions and twice at 1024 (AVX512-BF16, PyTorch 2.13); beyond, it saves memory. The
    forward pass alone is the faster one from 16 positions on, with padding the more so (AMX, PyTorch 2.13).
    FlexAttention knows no dropout, and has no backward pass on a CPU.
    """
    if not fused:
        return "plain"
    if logits.query is None or logits.key is None:
        shares = logits.bias is not None and logits.bias.ndim == 4 and logits.bias.shape[0] == 1
        return "shared_rows" if shares and separated(mask) is not None else "plain"
    learns = logits.bias is not None and logits.bias.requires_grad and torch.is_grad_enabled()
    if value_BHMK.device.type != "cpu":
        if not learns:
            return "fused"
        return "plain" if dropout or value_BHMK.device.type != "cuda" else "flex"
    long = logits.query.shape[-2] * logits.key.shape[-2] > PLAIN_UP_TO**2
    fast = long or logits.query.dtype != torch.bfloat16 or not torch.is_grad_enabled()
    takes = fast and not dropout and not learns and logits.query.shape[-1] == value_BHMK.shape[-1]
    return "fused" if takes else "plain"


def _takes_groups(query: Tensor, key: Tensor, value: Tensor, masked: bool) -> bool:
    """Whether a kernel reads G heads of keys and values as they are, and H copies need not be made: one query of
    2048 keys then takes a quarter of the time (12 heads, 4 groups, float32, one thread of a CPU, PyTorch 2.13).

    A CPU's kernel always does. Of CUDA's only Flash Attention does, which takes 16 bits and no mask; another choice
    would be the plain formula.
    """
    if not key.shape[1] == value.shape[1] < query.shape[1]:
        return False
    return query.device.type == "cpu" or (
        query.device.type == "cuda" and query.dtype in (torch.float16, torch.bfloat16) and not masked
    )


def with_causal(mask: Tensor | None, length: int, memory: int, device: torch.device) -> Tensor:
    """The mask, and no look ahead."""
    past = torch.ones(length, memory, dtype=torch.bool, device=device).tril(memory - length)
    return past if mask is None else mask & past


def with_window(mask: Tensor | None, length: int, window: int, device: torch.device) -> Tensor | None:
    """The mask, and no look farther than `window` tokens to either side."""
    if not torch.compiler.is_compiling() and length <= window + 1:  # exported, the length is a symbol
        return mask
    place = torch.arange(length, device=device)
    near = (place[:, None] - place).abs() <= window
    return near[None, None] if mask is None else mask & near


def _without_empty_rows(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Let rows that may attend to nothing attend to everything, and say which they are.

    Kernels disagree on such rows (zeros, mean of the values, NaN) and a softmax over them has NaN gradients; so none
    ever sees one, and the caller zeroes the result.
    """
    empty = ~mask.any(dim=-1, keepdim=True)
    return mask | empty, empty
