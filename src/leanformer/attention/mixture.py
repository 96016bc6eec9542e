"""Mixtures: several compatibilities inside one softmax (Tay et al., 2020, "Synthesizer", section 3.2, generalised).

    logits_h = sum_p  w_{h,p} logits_{h,p}

    weights     w                                              learned
    sum         1                                              nothing
    softmax     softmax over the parts of a, a = 0 at first    P numbers, P H with per_head
    sigmoid     g for the first part, 1 - g for the second,    1 number, H with per_head
                g = 1 / (1 + exp(-a)), a = 0 at first

The paper writes a weighted sum with learned weights that add up to one; its released code has the plain sum and the
gate. All parts see the same heads, so a mixture needs one projection that serves every part.
"""

from functools import cache
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.options import options_of
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.positions import Positions
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest

WEIGHTS = ("sum", "softmax", "sigmoid")


class Part(Protocol):
    """What a mixture asks of a mechanism."""

    @property
    def name(self) -> str: ...
    @property
    def compatibility(self) -> type[Compatibility]: ...
    @property
    def any_queries(self) -> bool: ...


class Mixture(Compatibility):
    """A weighted sum of compatibilities, each a submodule under its mechanism's name; see the formulas above.

    An option that several parts know goes to all of them. Use a subclass made by `mixture_of`.
    """

    parts: ClassVar[tuple[Part, ...]] = ()
    gate: Tensor

    def __init__(self, shape: Shape, weights: str = "sum", per_head: bool = False, **options: Any) -> None:
        super().__init__(shape)
        self.weights, self.per_head = weights, per_head
        self._check(weights)
        for part in self.parts:
            self.add_module(part.name, part.compatibility(shape, **_of(part, options)))
        self.make_parameters()

    def __reduce__(self) -> tuple[Any, ...]:
        """Its class has no name that pickle could look up, so a mixture is pickled as its parts."""
        return _blank, (self.parts,), self.__dict__

    def initial_values(self) -> dict[str, Tensor]:
        heads = (self.shape.num_heads,) if self.per_head else ()
        sizes = {"softmax": (len(self.parts), *heads), "sigmoid": heads}
        return {"gate": torch.zeros(sizes[self.weights])} if self.weights in sizes else {}

    def mixing_weights(self) -> Tensor | None:
        """(P, H) or (P, 1), None for the plain sum."""
        if self.weights == "sum":
            return None
        if self.weights == "softmax":
            return self.gate.softmax(dim=0).view(len(self.parts), -1)
        first = self.gate.sigmoid()
        return torch.stack((first, 1 - first)).view(2, -1)

    def _part(self, name: str) -> Compatibility:
        return cast(Compatibility, self.get_submodule(name))

    def summands(self) -> list[Compatibility]:
        if self.weights != "sum":
            raise ValueError(f"weights = {self.weights!r} starts with shares of every part: only 'sum' adds")
        return [self._part(part.name) for part in self.parts]

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        weights = self.mixing_weights()
        total = Logits()
        for number, part in enumerate(self.parts):
            logits = self._part(part.name)(heads, x, memory, positions)
            if weights is not None:
                weight_H11 = weights[number, :, None, None]
                logits = logits.scale(weight_H11 if logits.query is None else weight_H11.to(logits.query.dtype))
            total = total.plus(logits)
        return total

    def rotated_size(self, compared: int) -> int:
        sizes = [self._part(part.name).rotated_size(compared) for part in self.parts if part.compatibility.compares]
        return sizes[0] if sizes else compared

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        weights = self.mixing_weights()
        total = x.new_zeros(())
        for number, part in enumerate(self.parts):
            logit = self._part(part.name).formula(q, k, x, y, h, i, j)
            total = total + (logit if weights is None else weights[number, h if self.per_head else 0] * logit)
        return total

    @classmethod
    def groups(cls) -> list[tuple[str, ParameterGroup]]:
        return [group for part in cls.parts for group in part.compatibility.groups()]

    @classmethod
    def options(cls) -> dict[str, Any]:
        own: dict[str, Any] = {"weights": "sum", "per_head": False}
        for part in cls.parts:
            own |= options_of(part.compatibility)
        return own

    @classmethod
    def num_params(cls, shape: Shape, weights: str = "sum", per_head: bool = False, **options: Any) -> int:
        heads = shape.num_heads if per_head else 1
        own = {"sum": 0, "softmax": len(cls.parts) * heads, "sigmoid": heads}[weights]
        return own + sum(part.compatibility.num_params(shape, **_of(part, options)) for part in cls.parts)

    @classmethod
    def flops(
        cls,
        shape: Shape,
        length: int,
        memory: int | None = None,
        weights: str = "sum",
        per_head: bool = False,
        **options: Any,
    ) -> int:
        return sum(part.compatibility.flops(shape, length, memory, **_of(part, options)) for part in cls.parts)

    @classmethod
    def kept(
        cls, shape: Shape, length: int, path: Path, weights: str = "sum", per_head: bool = False, **options: Any
    ) -> int | None:
        """The parts' numbers in sum; rows that a batch shares are multiplied with the values once for all parts."""
        found = [part.compatibility.kept(shape, length, path, **_of(part, options)) for part in cls.parts]
        known = [numbers for numbers in found if numbers is not None]
        if weights != "sum" or len(known) < len(found):
            return None
        return max(known) if path == "shared_rows" else sum(known)

    def _check(self, weights: str) -> None:
        if weights not in WEIGHTS:
            raise ValueError(f"weights = {weights!r}; {suggest(weights, WEIGHTS)}")
        if weights == "sigmoid" and len(self.parts) != 2:
            names = "+".join(part.name for part in self.parts)
            raise ValueError(f"weights = 'sigmoid' is a gate between two parts, {names} has {len(self.parts)}: softmax")


@cache
def mixture_of(parts: tuple[Part, ...]) -> type[Mixture]:
    """The compatibility of a mixture of these mechanisms; the same class for the same parts."""
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{'+'.join(names)} names {name} twice: a mixture is of different parts")
    flags = ("compares", "uses_input", "learns", "rotary")
    own = {flag: any(getattr(part.compatibility, flag) for part in parts) for flag in flags}
    own["any_queries"] = all(part.any_queries for part in parts)
    # Two comparisons are one of longer vectors than the values, and a bias that learns is no kernel's.
    compared = [part.compatibility.fuses for part in parts if part.compatibility.compares]
    added = any(part.compatibility.learns for part in parts if not part.compatibility.compares)
    own["fuses"] = compared == [True] and not added
    kept_with = next((part.compatibility.kept_with for part in parts if part.compatibility.kept_with), ())
    return type("Mixture", (Mixture,), {"parts": parts, "kept_with": kept_with, **own})


def _blank(parts: tuple[Part, ...]) -> Mixture:
    kind = mixture_of(parts)
    return kind.__new__(kind)


def _of(part: Part, options: dict[str, Any]) -> dict[str, Any]:
    known = options_of(part.compatibility)
    return {name: value for name, value in options.items() if name in known}
