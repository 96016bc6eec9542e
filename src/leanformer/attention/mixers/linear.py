"""Linear mixing: what FNet compares itself with (Lee-Thorp et al., 2021, "FNet", the model "Linear").

    y = W_n x W_D,    W (N, N) over places and W_D (D, D) over channels, both learned, no biases

W_n is the upper left part of W for a text of n places; N is `model.max_position_embeddings`. A place is counted from
the start of the row, as in a table of positions.

Padding. The paper has no mask. Here padding counts as zeros, so that the tokens before it get what they get alone.
Padding on the left moves a text to other places, as it does with `random`.

Shape letters: B batch, L length, N longest, D width.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.attention.mixers.masks import without_padding
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.shape import Shape
from leanformer.attention.token_mixer import TokenMixer


class LinearMixing(TokenMixer):
    """The formula above: N^2 + D^2 parameters and 2 L^2 D + 2 L D^2 FLOPs. `init_std` is W's; the paper's is 0.02."""

    paper = "Lee-Thorp et al. 2021"
    parameter_groups = {"place_maps": ParameterGroup(("places",))}

    def __init__(self, shape: Shape, dropout: float = 0.0, *, init_std: float = 0.02) -> None:
        super().__init__(shape, dropout)
        if not init_std >= 0:
            raise ValueError(f"init_std = {init_std!r}: a standard deviation, 0 or more")
        self.mixing = {"init_std": init_std}
        self.places = nn.Parameter(self.initial_values()["places"])
        self.output = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)

    def initial_values(self) -> dict[str, Tensor]:
        return {"places": torch.randn(self.shape.max_length, self.shape.max_length) * self.mixing["init_std"]}

    def mix(self, x_BLD: Tensor, mask: Tensor | None) -> Tensor:
        x_BLD, length = without_padding(x_BLD, mask), x_BLD.shape[1]
        return self.output(self.places[:length, :length].to(x_BLD.dtype) @ x_BLD)

    def formula(self, x_LD: Tensor) -> Tensor:
        rows = [sum(self.places[i, j] * x_LD[j] for j in range(len(x_LD))) for i in range(len(x_LD))]
        return torch.stack([(self.output.weight * row).sum(-1) for row in rows])

    @classmethod
    def count_params(cls, mechanism: Any, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        return whole.max_length**2

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
        return 2 * length**2 * whole.hidden_size

    @classmethod
    def count_output_params(cls, whole: Shape, **mixing: Any) -> int:
        return whole.hidden_size**2

    @classmethod
    def count_output_flops(cls, whole: Shape, length: int, **mixing: Any) -> int:
        return 2 * length * whole.hidden_size**2
