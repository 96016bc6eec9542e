"""Attention heads beside heads of span-based dynamic convolution (Jiang, Yu, Zhou, Chen, Feng and Yan, 2020, "ConvBERT:
Improving BERT with Span-based Dynamic Convolution", NeurIPS).

    s_t  = (sum_j d_j * x_t+j) W_s + b_s            the key of the span around t: depthwise, then to a narrower width
    w_t  = softmax_j( (s_t * q_t) W_w + b_w )       its J weights, a kernel each head; q is the attention's query
    o_t  = sum_j w_tj v_t+j,   v = x W_v + b_v      j = -(J - 1) / 2 ... (J - 1) / 2
    y    = concat(attention heads, o) W_o + b_o

With the head ratio g, H' = floor(H / g) heads attend and H' convolve, each E / (2 H') wide, so that both halves have
width E / 2 and W_o is as it was. This is Hugging Face's layout; in the authors' code heads keep their width E / H, so
that the halves have E / g each and W_o is smaller. At g = 2, which is all that was published, the two are one.

The query is the one that the mechanism's projection makes, with its norm, before any rotation: so a tied, a shared and
a pairwise projection serve both halves. Beyond the ends of a sequence there are zeros, and with `mask_conv` in place of
padding, too; without it, as in both published codes, padding leaks into its neighbours.

Shape letters: B batch, L length, D width, H heads that attend (and as many that convolve), K their size, E = H K,
J taps of a kernel.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention.attend import softmax
from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.logits import Heads
from leanformer.attention.mixers.masks import tokens_of
from leanformer.attention.positions import Positions
from leanformer.attention.registry import Mechanism
from leanformer.attention.shape import Shape
from leanformer.attention.some_queries import take


class ConvolutionBesideAttention(MultiHeadAttention):
    """The formula above. Besides the mechanism's it has, with b = 1 with biases, else 0,

        D J + 2 (D E + b E) + (E + b) H J    parameters
        2 L (D J + 2 D E + E H J + E J)      FLOPs

    `head_ratio` is g, `kernel` J. ValueError for an even kernel, for a ratio that leaves no heads or none of a whole
    width, and for a mechanism without queries; a mask of pairs is refused with `mask_conv`: a span has one key for all.
    """

    paper = "Jiang et al. 2020"

    def __init__(
        self,
        mechanism: str,
        hidden_size: int,
        num_heads: int,
        max_length: int,
        bias: bool = True,
        dropout: float = 0.0,
        head_size: int | None = None,
        qk_norm: bool = False,
        *,
        head_ratio: int = 2,
        kernel: int = 9,
        mask_conv: bool = True,
        **options: Any,
    ) -> None:
        whole = Shape(hidden_size, num_heads, max_length, bias, head_size or 0, qk_norm)
        half = self.attention_shape(whole, head_ratio=head_ratio)
        if not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel = {kernel!r}: an odd number, so that a token stands in the middle of its span")
        super().__init__(
            mechanism, hidden_size, half.num_heads, max_length, bias, dropout, half.head_size, qk_norm, **options
        )
        if not self.mechanism.compares:
            raise ValueError(f"mixer 'convolution' makes its kernels from queries, and {mechanism} has none")
        self.whole, self.mixing = whole, {"head_ratio": head_ratio, "kernel": kernel, "mask_conv": mask_conv}
        self.mask_conv = mask_conv
        self.convolution = SpanConvolution(half, kernel)
        self.output = nn.Linear(whole.inner_size, hidden_size, bias=bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        *,
        causal: bool = False,
        cache: Callable[[Heads], Heads] | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if memory is not None or causal or cache is not None:
            raise ValueError("mixer 'convolution' reads one sequence, to the left and to the right: an encoder's only")
        return super().forward(x, None, mask, positions, return_weights=return_weights)

    def at(
        self,
        places: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        cache: Callable[[Heads], Heads] | None = None,
    ) -> Tensor:
        """Kernels, too, are made at these places alone, of the spans and values around them."""
        if not self.serves_some(self.mechanism):
            return super().at(places, x, mask, positions, cache)
        context_BHNK, heads = self.context_at(places, x, mask, positions, cache)
        return self.merge(context_BHNK, x, heads, mask, places)

    @classmethod
    def serves_some(cls, mechanism: Mechanism) -> bool:
        own = cls.forward is ConvolutionBesideAttention.forward and cls.merge is ConvolutionBesideAttention.merge
        return own and mechanism.any_queries

    def merge(
        self, context_BHLK: Tensor, x: Tensor, heads: Heads, mask: Tensor | None, places: Tensor | None = None
    ) -> Tensor:
        assert heads.query is not None
        tokens = tokens_of(mask) if self.mask_conv else None
        convolved_BLE = self.convolution(x, heads.query, tokens, places)
        return self.output(torch.cat((context_BHLK.transpose(1, 2).flatten(-2), convolved_BLE), dim=-1))

    @classmethod
    def attention_shape(cls, whole: Shape, **mixing: Any) -> Shape:
        ratio, heads = mixing.get("head_ratio", 2), whole.num_heads
        if not isinstance(ratio, int) or not 1 <= ratio <= heads:
            raise ValueError(f"head_ratio = {ratio!r} leaves no heads: a whole number from 1 to num_heads = {heads}")
        heads //= ratio
        if whole.inner_size % (2 * heads):
            raise ValueError(
                f"head_ratio = {ratio}: {heads} heads that attend and {heads} that convolve cannot share a width of "
                f"{whole.inner_size} evenly; choose one that {2 * heads} divides"
            )
        return replace(whole, num_heads=heads, head_size=whole.inner_size // (2 * heads))

    @classmethod
    def count_params(cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        half, taps = cls.attention_shape(whole, **mixing), mixing.get("kernel", 9)
        kernels = (half.inner_size + half.bias) * half.num_heads * taps
        return mechanism.num_params(half, **options) + half.hidden_size * taps + 2 * half.linear_params + kernels

    @classmethod
    def count_flops(
        cls,
        mechanism: Mechanism,
        whole: Shape,
        options: Mapping[str, Any],
        length: int,
        memory: int | None = None,
        **mixing: Any,
    ) -> int:
        half, taps = cls.attention_shape(whole, **mixing), mixing.get("kernel", 9)
        per_tap = half.hidden_size + half.inner_size * half.num_heads + half.inner_size
        own = 2 * length * taps * per_tap + 2 * half.linear_flops(length)
        return mechanism.flops(half, length, **options) + own

    @classmethod
    def count_unread_flops(
        cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], length: int, read: int, **mixing: Any
    ) -> int:
        if not cls.serves_some(mechanism):
            return 0
        half, taps = cls.attention_shape(whole, **mixing), mixing.get("kernel", 9)
        attention = mechanism.flops(half, length, **options) - mechanism.flops(half, read, length, **options)
        convolution = 2 * taps * half.inner_size * (half.num_heads + 1) + half.linear_flops(1)
        return attention + (length - read) * (convolution + whole.linear_flops(1))

    @classmethod
    def count_unlearned_flops(
        cls, mechanism: Mechanism, whole: Shape, length: int, read: int | None = None, **mixing: Any
    ) -> int:
        return 0


class SpanConvolution(nn.Module):
    """s, w and o of the formula above: (B, L, D) and the query (B, H, L, K) -> (B, L, E), or those of N places."""

    def __init__(self, shape: Shape, kernel: int) -> None:
        super().__init__()
        self.shape, self.kernel = shape, kernel
        self.depthwise = Depthwise(shape.hidden_size, kernel)
        self.span = nn.Linear(shape.hidden_size, shape.inner_size, bias=shape.bias)
        self.weights = nn.Linear(shape.inner_size, shape.num_heads * kernel, bias=shape.bias)
        self.value = nn.Linear(shape.hidden_size, shape.inner_size, bias=shape.bias)

    def forward(
        self,
        x_BLD: Tensor,
        query_BHLK: Tensor,
        tokens_BL: Tensor | None = None,
        places_BN: Tensor | None = None,
    ) -> Tensor:
        value_BLE = self.value(x_BLD)
        if tokens_BL is not None:
            padding_BL1 = ~tokens_BL[..., None]
            x_BLD, value_BLE = x_BLD.masked_fill(padding_BL1, 0.0), value_BLE.masked_fill(padding_BL1, 0.0)
        around_BLD = self.depthwise(x_BLD)
        span_BLE = self.span(around_BLD if places_BN is None else take(around_BLD, places_BN))
        query_BLE = query_BHLK.transpose(1, 2).flatten(-2)
        weights_BLHJ = softmax(self.weights(span_BLE * query_BLE).unflatten(-1, (-1, self.kernel)))
        windows_BLHKJ = self._windows(value_BLE, places_BN).unflatten(2, (-1, self.shape.head_size))
        return (windows_BLHKJ @ weights_BLHJ[..., None]).flatten(-3)

    def _windows(self, x_BLE: Tensor, places_BN: Tensor | None) -> Tensor:
        """(B, L, E, J): what stands around each place, or each of these, zeros beyond the ends."""
        reach, length = self.kernel // 2, x_BLE.shape[1]
        padded = F.pad(x_BLE, (0, 0, reach, reach))
        if places_BN is not None:
            return torch.stack([take(padded, places_BN + j) for j in range(self.kernel)], dim=-1)
        return torch.stack([padded[:, j : j + length] for j in range(self.kernel)], dim=-1)


class Depthwise(nn.Module):
    """sum_j d_j * x_t+j, a number a channel and tap; starts at N(0, 1 / J^2), as in the authors' code."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.width, self.kernel = width, kernel
        self.weight = nn.Parameter(self.initial_values()["weight"])

    def initial_values(self) -> dict[str, Tensor]:
        return {"weight": torch.randn(self.width, 1, self.kernel) / self.kernel}

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BDL = x_BLD.transpose(1, 2)
        return F.conv1d(x_BDL, self.weight, padding=self.kernel // 2, groups=self.width).transpose(1, 2)
