"""A linear layer of 8-bit products (Jacob et al., 2018, "Quantization and Training of Neural Networks").

    y = s_x s_w (q_x - z) q_w^T + b,    q_w = round(w / s_w) in -127 .. 127,    q_x = round(x / s_x) + z in 0 .. n

s_w (out,) is a row's largest weight / 127. s_x = (max x - min x) / n is made of all of x at every call, zero included,
so a token's output depends, within the error of rounding, on those beside it. With e_x = s_x and e_w = s_w / 2:

    |y - (w x + b)|  <=  sum_k |w_k| e_x + |x_k| e_w + e_x e_w

The kernels are torch's: oneDNN's with n = 255 where the CPU adds up 8-bit products in 32 bits (AVX512-VNNI, AMX), else
FBGEMM's with n = 127, as AVX2 adds pairs of them in 16 bits, which may not overflow.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import quantized

LARGEST = 127


class Int8Linear(nn.Module):
    """Of a float layer; keeps its weight in 8 bits only. ValueError where torch has no such kernel."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        exact = torch.cpu._is_vnni_supported()
        kernel = "onednn" if exact else "fbgemm"
        if kernel not in quantized.supported_engines:
            raise ValueError("int8 inference needs an x86 CPU: take bf16")
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.activations = 255 if exact else 127
        weight = linear.weight.detach().float()
        scale = row_scales(weight).double()
        bias = None if linear.bias is None else linear.bias.detach().float()
        with warnings.catch_warnings(), _engine(kernel):
            warnings.filterwarnings("ignore", message=".*quantized tensor creation")
            rows = torch.quantize_per_channel(weight, scale, torch.zeros_like(scale, dtype=torch.long), 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rows, bias)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.activations == 127
        return torch.ops.quantized.linear_dynamic(x.float(), self.packed, reduced).to(x.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _save_to_state_dict(self, *_: Any) -> None:
        raise ValueError("an int8 model is not saved: save the one it was made of, and call for_inference on that")


def row_scales(weight: Tensor) -> Tensor:
    """s_w (out,); a row of zeros has any."""
    largest = weight.abs().amax(dim=1)
    return largest.where(largest > 0, 1.0) / LARGEST


@contextmanager
def _engine(name: str) -> Iterator[None]:
    before, quantized.engine = quantized.engine, name
    try:
        yield
    finally:
        quantized.engine = before
