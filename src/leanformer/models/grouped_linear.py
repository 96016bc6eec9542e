"""A linear map in groups: each part of the output sees its own part of the input, and no other (ConvBERT, section 3.3).

y = concat_g( x_g W_g ) + b,    W (G, I / G, O / G):   I O / G weights instead of I O
"""

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """A linear map in groups; `std` is that of its initial values. Raises ValueError if the groups do not divide both
    sizes."""

    def __init__(self, inputs: int, outputs: int, groups: int, bias: bool, std: float) -> None:
        super().__init__()
        if inputs % groups or outputs % groups:
            raise ValueError(f"{groups} groups cannot share {inputs} inputs and {outputs} outputs evenly")
        self.size, self.std, self.biased = (groups, inputs // groups, outputs // groups), std, bias
        for name, value in self.initial_values().items():
            self.register_parameter(name, nn.Parameter(value))

    def initial_values(self) -> dict[str, Tensor]:
        weight = {"weight": torch.randn(self.size) * (self.std * getattr(self, "initial_scale", 1.0))}
        return weight | ({"bias": torch.zeros(self.size[0] * self.size[2])} if self.biased else {})

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., I) to (..., O)."""
        parts = x.flatten(0, -2).unflatten(-1, self.size[:2]).transpose(0, 1)
        y = (parts @ self.get_parameter("weight")).transpose(0, 1).flatten(-2).unflatten(0, x.shape[:-1])
        return y + self.get_parameter("bias").to(y.dtype) if self.biased else y

    def extra_repr(self) -> str:
        groups, inputs, outputs = self.size
        return f"in_features={groups * inputs}, out_features={groups * outputs}, groups={groups}, bias={self.biased}"
