"""The cross entropy of a linear layer's scores, which are never kept in float32.

    loss = sum_n w_n (log sum_v exp z_nv - sum_v t_nv z_nv),    z = x W^T + b,    t_nv = (1 - s) [v = y_n] + s / V
    dz_nv = w_n (softmax(z_n)_v - t_nv),    dx = dz W,    dW = dz^T x,    db = sum_n dz_n

w_n is 0 where the label is no target, else 1; s smooths the labels (Szegedy et al., 2016).

A masked-LM head has N V scores, a few megabytes to gigabytes, and the usual way keeps them three times in float32: the
scores, their logarithms of probabilities and the gradient. Here they are kept once, in the type of the products (bf16
under autocast), and a few rows at a time are float32, as many as fit a core's cache; the gradient then takes the place
of the scores. Values and gradients are those of `cross_entropy(linear(x))`, up to the order of rounding.

Shape letters: N predictions, D model width, V vocabulary, P vocabulary padded to a multiple of 64.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from leanformer.attention import is_plain
from leanformer.models.loss import IGNORED, cross_entropy

ALIGNED = 64
"""Rows of the weight: kernels of matrix products like multiples of it."""

CPU_CHUNK, CHUNK = 2**19, 2**28
"""Scores that are float32 at a time: on a CPU 2 MB of them, a core's second-level cache; elsewhere 1 GB."""


def linear_cross_entropy(
    x: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    labels: Tensor,
    count: Tensor | int | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """x (..., D), labels (...): `cross_entropy` of `F.linear(x, weight, bias)`; not twice differentiable.

    Compiled it is exactly that, since a compiler fuses the formula by itself.
    """
    if torch.compiler.is_compiling():
        return cross_entropy(F.linear(x, weight_VD, bias_V), labels, count, smoothing=smoothing)
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    x_ND, labels_N = x.reshape(-1, x.shape[-1]), labels.reshape(-1)
    targets_N = labels_N != IGNORED
    total = _LinearCrossEntropy.apply(
        x_ND, weight_VD, bias_V, labels_N.clamp(min=0), targets_N, smoothing, dtype, torch.is_grad_enabled()
    )
    return total / (targets_N.sum() if count is None else count)


def logits_and_loss(
    head: nn.Linear,
    x: Tensor,
    labels: Tensor | None,
    count: Tensor | int | None = None,
    smoothing: float = 0.0,
    return_logits: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Returns head(x), and its cross entropy if there are labels; the loss alone, fused, where logits need not be
    returned.

    A head that an adapter, a hook or a parametrization does more to is called all the same.
    """
    if labels is not None and not return_logits and is_plain(head):
        return None, linear_cross_entropy(x, head.weight, head.bias, labels, count, smoothing)
    logits = head(x)
    loss = None if labels is None else cross_entropy(logits, labels, count, smoothing=smoothing)
    return logits if return_logits or loss is None else None, loss


class _LinearCrossEntropy(torch.autograd.Function):
    """The sum over targets, in float32 or better."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        targets_N: Tensor,
        smoothing: float,
        dtype: torch.dtype,
        learns: bool,
    ) -> Tensor:
        words = len(weight_VD)
        padding = -words % ALIGNED
        x, weight_PD = x_ND.to(dtype), F.pad(weight_VD.to(dtype), (0, 0, 0, padding))
        bias_P = None if bias_V is None and not padding else _bias(bias_V, words, padding, x)
        scores_NP = F.linear(x, weight_PD, bias_P)
        losses = _to_gradients(scores_NP, labels_N, words, smoothing, learns)
        if learns:
            ctx.save_for_backward(x, weight_PD, scores_NP, targets_N)
            ctx.words, ctx.dtypes = words, (x_ND.dtype, weight_VD.dtype, None if bias_V is None else bias_V.dtype)
        return losses.where(targets_N, 0.0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, weight_PD, dz_NP, targets_N = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.dtypes
        scale_N1 = (gradient * targets_N)[:, None]  # of the narrow factor of a product, instead of dz
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = ((dz_NP @ weight_PD) * scale_N1).to(of_x)
        if ctx.needs_input_grad[1]:
            dweight = (dz_NP.T @ (x_ND * scale_N1).to(x_ND.dtype))[: ctx.words].to(of_weight)
        if ctx.needs_input_grad[2]:
            dbias = (targets_N[None].to(dz_NP.dtype) @ dz_NP)[0, : ctx.words].to(of_bias) * gradient.to(of_bias)
        return dx, dweight, dbias, None, None, None, None, None


def _bias(bias_V: Tensor | None, words: int, padding: int, like: Tensor) -> Tensor:
    """Returns the bias, which gives no probability to the rows that fill up the vocabulary."""
    bias = like.new_zeros(words) if bias_V is None else bias_V.to(like.dtype)
    return F.pad(bias, (0, padding), value=float("-inf"))


def _to_gradients(scores_NP: Tensor, labels_N: Tensor, words: int, smoothing: float, learns: bool) -> Tensor:
    """The losses (N,); where the model learns, `scores_NP` becomes their gradient, in place."""
    rows = max(1, (CPU_CHUNK if scores_NP.device.type == "cpu" else CHUNK) // scores_NP.shape[1])
    wide = torch.promote_types(scores_NP.dtype, torch.float32)
    losses = []
    for part, labels in zip(scores_NP.split(rows), labels_N[:, None].split(rows), strict=True):
        z = part.to(wide)  # the same memory if it is wide already
        largest, target = z.amax(dim=1, keepdim=True), z.gather(1, labels)
        if smoothing:
            target = (1 - smoothing) * target + smoothing * z[:, :words].mean(dim=1, keepdim=True)
        z = (z.sub_(largest) if learns else z - largest).exp_()
        total = z.sum(dim=1, keepdim=True)
        losses.append(total.log() + largest - target)
        if learns:
            z.div_(total).scatter_add_(1, labels, z.new_full((), smoothing - 1.0).expand_as(labels))
            if smoothing:
                z[:, :words].sub_(smoothing / words)
            part.copy_(z)
    return torch.cat(losses).squeeze(1)
