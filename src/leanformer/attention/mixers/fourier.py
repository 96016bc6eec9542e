"""Fourier mixing (Lee-Thorp, Ainslie, Eckstein and Ontanon, 2021, "FNet: Mixing Tokens with Fourier Transforms").

    y = Re( F_n x F_D ),    F_n[i, j] = exp(-2 pi i j sqrt(-1) / n)
      = C_n x C_D - S_n x S_D     with C[i, j] = cos(2 pi i j / n),  S[i, j] = sin(2 pi i j / n)

the real part of the discrete Fourier transform over the n places of a text and over its D channels. Nothing is learned,
and there is no output map. As published it is not normalised: white noise of n places comes out sqrt(n D / 2) times as
large, which a norm behind the residual step (`model.norm = "post"`, the paper's) takes away again; with norms before
it, `scaled` divides by sqrt(n D).

Padding. The paper has no mask: it pads every text to the full length, and padding takes part. Here n is the number of
an example's own tokens, wherever they stand: tokens of a padded text get what they get alone, and padding gets zeros.

Without padding the transform is PyTorch's FFT, in float32 or better. With padding, and in a graph that is exported, the
two matrix products above are made, one matrix per example.

Shape letters: B batch, L length, D width.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from leanformer.attention.mixers.masks import tokens_of
from leanformer.attention.shape import Shape
from leanformer.attention.token_mixer import TokenMixer


class FourierMixing(TokenMixer):
    """The formula above: no parameters, and no FLOPs that the ledger counts, since an FFT is no matrix product. The
    products that take its place for padded texts are 4 L^2 D + 4 L D^2."""

    paper = "Lee-Thorp et al. 2021"
    group = "nothing"

    def __init__(self, shape: Shape, dropout: float = 0.0, *, scaled: bool = False) -> None:
        super().__init__(shape, dropout)
        self.mixing = {"scaled": scaled}

    def mix(self, x_BLD: Tensor, mask: Tensor | None) -> Tensor:
        tokens_BL = tokens_of(mask)
        exact = x_BLD.double() if x_BLD.dtype == torch.float64 else x_BLD.float()
        with torch.autocast(x_BLD.device.type, enabled=False):  # 16 bits hold neither the sums nor the angles
            if tokens_BL is None and not torch.compiler.is_exporting():
                mixed_BLD = torch.fft.fft2(exact, dim=(-2, -1)).real
                number = float(x_BLD.shape[1])
                return self._divided(mixed_BLD, number).to(x_BLD.dtype)
            if tokens_BL is None:
                tokens_BL = torch.ones(x_BLD.shape[:2], dtype=torch.bool, device=x_BLD.device)
            return self._divided(*by_products(exact, tokens_BL.expand(x_BLD.shape[:2]))).to(x_BLD.dtype)

    def formula(self, x_LD: Tensor) -> Tensor:
        length, width = x_LD.shape
        waves = []
        for number in (length, width):
            place = torch.arange(number, dtype=x_LD.dtype)
            waves.append(
                torch.polar(
                    torch.ones(number, number, dtype=x_LD.dtype), -2 * math.pi * torch.outer(place, place) / number
                )
            )
        mixed_LD = torch.einsum("ij,jc,cd->id", waves[0], x_LD.to(waves[0].dtype), waves[1]).real
        return mixed_LD / math.sqrt(length * width) if self.mixing["scaled"] else mixed_LD

    def _divided(self, mixed_BLD: Tensor, number: Tensor | float) -> Tensor:
        if not self.mixing["scaled"]:
            return mixed_BLD
        return mixed_BLD / (number * self.shape.hidden_size) ** 0.5

    @classmethod
    def count_params(cls, mechanism: Any, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        return 0

    @classmethod
    def count_flops(
        cls,
        mechanism: Any,
        whole: Shape,
        options: Mapping[str, Any],
        length: int,
        memory: int | None = None,
        **mixing: Any,
    ) -> int:
        return 0


def by_products(x_BLD: Tensor, tokens_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the transform of every example's own tokens, with zeros elsewhere, and their number n, (B, 1, 1)."""
    number_B11 = tokens_BL.sum(-1).clamp(min=1)[:, None, None]
    place_BL = (tokens_BL.cumsum(-1) - 1).clamp(min=0)
    cos_BLL, sin_BLL = _waves(place_BL[:, :, None] * place_BL[:, None, :], number_B11, x_BLD.dtype)
    both_BLL = (tokens_BL[:, :, None] & tokens_BL[:, None, :]).to(x_BLD.dtype)
    channel_D = torch.arange(x_BLD.shape[-1], device=x_BLD.device)
    cos_DD, sin_DD = _waves(channel_D[:, None] * channel_D, torch.full_like(channel_D[:1], len(channel_D)), x_BLD.dtype)
    # Padding may hold anything, also what is not finite.
    x_BLD = x_BLD.masked_fill(~tokens_BL[..., None], 0.0)
    mixed_BLD = (cos_BLL * both_BLL) @ (x_BLD @ cos_DD) - (sin_BLL * both_BLL) @ (x_BLD @ sin_DD)
    return mixed_BLD, number_B11.to(x_BLD.dtype)


def _waves(product: Tensor, number: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi product / number, reduced to one turn in whole numbers, where nothing is rounded."""
    angle = (product % number).to(dtype) * (2 * math.pi / number.to(dtype))
    return angle.cos(), angle.sin()
