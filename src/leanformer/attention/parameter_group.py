"""A named group of parameters that learn at a multiple of the learning rate, declared by the class that owns them.

    parameter_groups = {"phases": ParameterGroup(("phases", "gains"), multiplier=30.0)}

Projections, compatibilities and mixers declare theirs, so that the optimizer and the settings know no mechanism's name.
A run changes the multiplier by `training.lr_multipliers = { phases = 10 }`.
"""

from typing import NamedTuple


class ParameterGroup(NamedTuple):
    """Names of the owner's parameters, or of its maps, whose parameters are meant; the default multiplier."""

    members: tuple[str, ...]
    multiplier: float = 1.0
