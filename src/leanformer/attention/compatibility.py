"""What every compatibility is: a rule by which a query meets a key, with answers to all that others ask about it.

    logits = compatibility(heads, x, memory, positions)        Logits(query?, key?, bias?), see `logits.py`

Models, the ledger, the optimizer and conversion ask this class and never test its type, so that a plug-in's
compatibility can do what a built-in one can. A class overrides what differs from the defaults below.

A score that is a bilinear form of query and key, up to the rotation of both, says so by `bilinear_form`:

    logit_h(i, j) = rotate(q_i B_h) . rotate(k_j)         B of shape (H, C, C), the scale inside

`family` says which B the parameters can express, and so which closed form a conversion starts from:

    "scale"     c I with a fixed c                      nothing to set
    "matrix"    any matrix, or those of a low rank      `set_bilinear_form` takes the nearest
    "planes"    a complex number for each rotary plane  likewise
    None        the scores are no such form             nothing can be fitted

Shape letters: B batch, L query length, M memory length, H heads, K head size, C size of a compared vector.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from leanformer.attention.attend import Path
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.positions import Positions
from leanformer.attention.shape import Shape

Family = Literal["scale", "matrix", "planes"]


class Compatibility(nn.Module):
    """The base class. `compares`: it needs queries and keys. `uses_input`: its scores depend on the example; if not, a
    batch shares its rows. `learns`: a gradient goes through the scores. `fuses`: a kernel takes the scores of a class
    that compares, also in training on a CPU. `rotary`: it makes no sense but with rotary
    positions. `reads_attention`: `init_from_attention` can fill it. `any_queries`: a row of the scores is a function of
    its own token and position and of the memory, so that some queries can be had alone (`some_queries.py`); what can
    attend to another sequence can do so in any case."""

    compares: ClassVar[bool] = True
    uses_input: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    fuses: ClassVar[bool] = True
    kept_with: ClassVar[tuple[str, ...]] = ()
    """The projections, by name, for which `kept` is known; empty: all."""
    rotary: ClassVar[bool] = False
    in_grid: ClassVar[bool] = True
    """Whether other projections than its mechanism's own make another mechanism of it."""
    reads_attention: ClassVar[bool] = False
    any_queries: ClassVar[bool] = False
    family: ClassVar[Family | None] = None
    parameter_groups: ClassVar[Mapping[str, ParameterGroup]] = {}

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def initial_values(self) -> dict[str, Tensor]:
        """Fresh values of the bare parameters, by name, from torch's generator; layers of torch have their own."""
        return {}

    def make_parameters(self) -> None:
        """Register `initial_values` as parameters."""
        for name, value in self.initial_values().items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        raise NotImplementedError

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        """One logit of head h, computed by other means than `forward` uses, for the contract."""
        raise NotImplementedError

    @staticmethod
    def num_params(shape: Shape, *_: Any, **options: Any) -> int:
        """Number of trainable parameters, in closed form."""
        raise NotImplementedError

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, *_: Any, **options: Any) -> int:
        """Forward FLOPs of the scores of one sequence, in closed form; two for a multiply-add."""
        raise NotImplementedError

    @staticmethod
    def kept(shape: Shape, length: int, path: Path, *_: Any, **options: Any) -> int | None:
        """Numbers that the scores of one sequence keep for the backward pass; None if no closed form is known."""
        return None

    @classmethod
    def groups(cls) -> list[tuple[str, ParameterGroup]]:
        """Returns the groups of parameters by name, those of parts included."""
        return list(cls.parameter_groups.items())

    def summands(self) -> list["Compatibility"]:
        """The compatibilities whose scores add up to this one's; ValueError if it is another mixture than a sum."""
        return [self]

    def rotated_size(self, compared: int) -> int:
        """Returns how many numbers of a compared vector of so many rotary positions rotate: the last ones, or all."""
        return compared

    def bilinear_form(self) -> Tensor | None:
        """B (H, C, C) of the formula above in float64; None if the scores are no such form."""
        return None

    def set_bilinear_form(self, form_HCC: Tensor) -> None:
        """Set the parameters so that `bilinear_form` is nearest to this form. Does nothing where B is fixed."""

    def init_from_attention(self, weights_HLL: Tensor) -> None:
        """Start from the mean weights of a trained model's heads; only asked if `reads_attention`."""
        raise NotImplementedError

    def zero_init(self) -> None:
        """Start with scores of zero, so that the class adds nothing beside another; ValueError if it cannot."""
        raise ValueError(f"a part of the mixture, {type(self).__name__}, cannot start so that it adds nothing")
