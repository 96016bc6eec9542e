"""Query-key norm: what is compared has its direction from the token, and its length from a gain that all heads share.

    y_c = g_c x_c / sqrt( mean_c(x_c^2) + eps ),    c = 1 ... K, for the query and the key of every head

Henry et al., 2020, "Query-Key Normalization for Transformers"; as a norm with a learned gain a channel, before rotary
positions, Dehghani et al., 2023, "Scaling Vision Transformers to 22 Billion Parameters". Scores stay bounded, by
sqrt(K) max|g_q g_k|, so that a high learning rate cannot make attention collapse.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention.shape import Shape

EPSILON = 1e-6


class HeadNorm(nn.Module):
    """The formula above on (..., K), in the dtype it is given; no more than its input without `shape.qk_norm`."""

    weight: nn.Parameter | None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        gain = self.initial_values().get("weight")
        self.weight = None if gain is None else nn.Parameter(gain)

    def initial_values(self) -> dict[str, Tensor]:
        return {"weight": torch.ones(self.shape.head_size)} if self.shape.qk_norm else {}

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return x
        gain = self.weight.to(x.dtype)
        if x.device.type != "cpu":
            return F.rms_norm(x, gain.shape, gain, EPSILON)
        # Written out it takes a CPU 0.6 of the time, backward pass included: PyTorch's own copies bf16 to float32.
        square = (x * x).mean(dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        return x * (square + EPSILON).rsqrt().to(x.dtype) * gain

    def formula(self, x: Tensor) -> Tensor:
        """Returns the norm of one token, all heads in a row, (E,)."""
        if self.weight is None:
            return x
        heads = [part * ((part * part).sum() / len(part) + EPSILON) ** -0.5 for part in x.split(self.shape.head_size)]
        return torch.cat([self.weight * part for part in heads])
