"""A linear layer of 8-bit products (Jacob et al., 2018, "Quantization and Training of Neural Networks").

    y = s_x s_w (q_x - z) q_w^T + b,    q_w = round(w / s_w) in -127 .. 127,    q_x = round(x / s_x) + z in 0 .. n

s_w (out,) is a row's largest weight / 127. s_x = (max x - min x) / n is made of all of x at every call, zero included,
so a token's output depends, within the error of rounding, on those beside it. With e_x = s_x and e_w = s_w / 2:

    |y - (w x + b)|  <=  sum_k |w_k| e_x + |x_k| e_w + e_x e_w

The kernel is oneDNN's, on plain tensors of 8 bits, which torch.compile's x86 backend takes for quantized models too.
n = 255 where the CPU adds up 8-bit products in 32 bits (AVX512-VNNI, AMX), else n = 127, as AVX2 adds pairs of them in
16 bits, which may not overflow.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 127


class Int8Linear(nn.Module):
    """The 8-bit form of a float layer, which keeps its weight in 8 bits only. Raises ValueError where torch has no such
    kernel."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if not (torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")):
            raise ValueError("int8 inference needs an x86 CPU: take bf16")
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.activations = 255 if torch.cpu._is_vnni_supported() else 127
        weight = linear.weight.detach().float()
        self.scales = row_scales(weight)
        self.zeros = torch.zeros_like(self.scales, dtype=torch.long)
        rows = (weight / self.scales[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(rows, None)
        self.bias = None if linear.bias is None else linear.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        if not x.numel():
            return x.new_empty(*x.shape[:-1], self.out_features)
        lowest, highest = (float(bound) for bound in torch.aminmax(x))
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        scale = (highest - lowest) / self.activations or 1.0  # where all of x is zero, any scale is right
        if not math.isfinite(scale):
            return x.new_full((*x.shape[:-1], self.out_features), math.nan)
        zero = round(-lowest / scale)
        levels = (x.float() / scale).add_(zero).round_().clamp_(0, self.activations).to(torch.uint8)
        weight, output = (self.packed, self.scales, self.zeros, self.bias), (1.0, 0, torch.float32)
        return torch.ops.onednn.qlinear_pointwise(levels, scale, zero, *weight, *output, "none", [], "").to(x.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Int8Linear":
        """Shares the packed weight, which torch cannot copy and nothing changes."""
        other = memo[id(self)] = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _save_to_state_dict(self, *_: Any) -> None:
        raise ValueError("an int8 model is not saved: save the one it was made of, and call for_inference on that")


def row_scales(weight: Tensor) -> Tensor:
    """Returns s_w (out,); a row of zeros may have any."""
    largest = weight.abs().amax(dim=1)
    return largest.where(largest > 0, 1.0) / LARGEST
