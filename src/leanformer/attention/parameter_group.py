"""A named group of parameters that learn at a multiple of the learning rate, declared by the class that owns them.

    parameter_groups = {"phases": ParameterGroup(("phases", "gains"), multiplier=30.0)}

Projections, compatibilities and mixers declare theirs, so that the optimizer and the settings know no mechanism's name.
A run changes the multiplier by `training.lr_multipliers = { phases = 10 }`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

MUON = "muon"
"""The group of the matrices that the optimizer Muon updates, whatever module owns them: no class declares it."""


@dataclass(frozen=True)
class ParameterGroup:
    """Names of the owner's parameters, or of its maps, whose parameters are meant; the default multiplier."""

    members: tuple[str, ...]
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.members, tuple) or not all(isinstance(name, str) for name in self.members):
            raise ValueError(f"members = {self.members!r} of a group of parameters: give a tuple of names")
        if not isinstance(self.multiplier, int | float) or not 0 < self.multiplier < math.inf:
            raise ValueError(f"multiplier = {self.multiplier!r} of a group of parameters: give a positive number")


def require_groups(owner: str, groups: Mapping[str, ParameterGroup]) -> None:
    """Raises ValueError for a group that `training.lr_multipliers.NAME` could not mean, or that is none."""
    for name, group in groups.items():
        if name == MUON:
            raise ValueError(f"parameter_groups of {owner}: {name!r} is Muon's own group: choose another name")
        if not name.isidentifier():
            raise ValueError(f"parameter_groups of {owner}: {name!r}: use letters, digits and underscores")
        if not isinstance(group, ParameterGroup):
            raise ValueError(f"parameter_groups of {owner}: {name} = {group!r}: give a ParameterGroup")
