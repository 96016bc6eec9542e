"""A dot product and a bias that learns, in one kernel: FlexAttention, which never builds the (B, H, L, M) scores.

context = softmax(query . key + bias) value,    bias broadcastable to (B, H, L, M), gradients to all four
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor


def flex_attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, allowed: Tensor | None) -> Tensor:
    """`allowed` is boolean, broadcastable as `bias` is, with no row empty. Uncompiled (on a CPU) it is the formula."""
    table = _four_axes(bias).to(query.dtype)
    mask = None if allowed is None else _four_axes(allowed)

    def score(logit: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        logit = logit + _at(table, b, h, i, j)
        return logit if mask is None else torch.where(_at(mask, b, h, i, j), logit, float("-inf"))

    compiled = query.device.type == "cuda" and not torch.compiler.is_compiling()
    return _kernel(compiled)(query, key, value, score_mod=score, scale=1.0)


@cache
def _kernel(compiled: bool) -> Callable[..., Any]:
    """Made when first needed: importing the compiler takes seconds."""
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Callable[..., Any] = flex_attention
    return torch.compile(kernel, dynamic=False) if compiled else kernel


def _four_axes(x: Tensor) -> Tensor:
    return x[(None,) * (4 - x.ndim)]


def _at(x: Tensor, *index: Tensor) -> Tensor:
    """x[b, h, i, j], where an axis of size one is the same for all."""
    return x[tuple(0 * i if size == 1 else i for i, size in zip(index, x.shape, strict=True))]
