"""Published mechanisms are rows of a table: a name, a projection, a compatibility and the paper they come from."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from leanformer.attention.attend import Path as AttendPath
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.mixture import Mixture, mixture_of
from leanformer.attention.options import options_of
from leanformer.attention.parameter_group import require_groups
from leanformer.attention.plugins import (
    load_plugin,
    open_to_plugins,
    plugins_of,
    require_free,
    require_name,
    require_subclass,
)
from leanformer.attention.projection import Projection
from leanformer.attention.projections import PROJECTIONS, ValueOnly
from leanformer.attention.query_only import QueryOnly
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest


@dataclass(frozen=True)
class Mechanism:
    """A projection and a compatibility under a published name; `cross`: memory may differ from x.

    `projection` is None for a mixture whose parts need different ones: it works with the option `projection` only.
    Options are the keyword arguments of both constructors, and `projection`, which puts another projection of
    `PROJECTIONS` in the row's place: the grid of all projections times all compatibilities.
    """

    name: str
    projection: type[Projection] | None
    compatibility: type[Compatibility]
    paper: str
    cross: bool = True

    def __reduce__(self) -> tuple[Any, ...]:
        """A row is pickled as its name and the plug-ins it comes from, which a process that lacks them runs."""
        return _found, (self.name, plugins_of(self.name))

    def build(self, shape: Shape, **options: Any) -> tuple[Projection, Compatibility]:
        projection, of_projection, of_compatibility = self._assign(options)
        return projection(shape, **of_projection), self.compatibility(shape, **of_compatibility)

    def check_options(self, options: Mapping[str, Any], shape: Shape | None = None) -> None:
        """Raise ValueError, with the nearest name, if an option is not one of this mechanism's; with a `shape`, also if
        its value is wrong."""
        self._assign(options)
        if shape is not None:
            # A constructor that computes with values cannot be tried without memory for them.
            with suppress(NotImplementedError, RuntimeError), torch.device("meta"):
                try:
                    self.build(shape, **options)
                except TypeError as error:
                    reason = " ".join(str(error).split())
                    raise ValueError(
                        f"{self.name} with {dict(options)}: a value of the wrong type ({reason})"
                    ) from None

    def options(self, projection: str | None = None) -> dict[str, Any]:
        """Name and default value of every option."""
        chosen = self._chosen(projection)
        return {"projection": projection_name(chosen)} | options_of(chosen) | options_of(self.compatibility)

    def num_params(self, shape: Shape, **options: Any) -> int:
        """Parameters of projection and compatibility, in closed form."""
        projection, of_projection, of_compatibility = self._assign(options)
        return projection.num_params(shape, **of_projection) + self.compatibility.num_params(shape, **of_compatibility)

    def flops(self, shape: Shape, length: int, memory: int | None = None, **options: Any) -> int:
        """Forward FLOPs of projection, compatibility and attend for one sequence; no `memory` means self-attention.

        Matrix products only, two for a multiply-add.
        """
        projection, of_projection, of_compatibility = self._assign(options)
        context = 2 * shape.inner_size * length * (memory or length)
        return (
            projection.flops(shape, length, memory, **of_projection)
            + self.compatibility.flops(shape, length, memory, **of_compatibility)
            + context
        )

    def key_value_cost(self, shape: Shape, length: int, **options: Any) -> tuple[int, int]:
        """Returns the parameters and the FLOPs by which a layer is cheaper that makes queries alone (`query_only`)."""
        projection, of_projection, _ = self._assign(options)
        parameters = projection.num_params(shape, **of_projection) - QueryOnly.num_params(shape)
        return parameters, projection.flops(shape, length, **of_projection) - QueryOnly.flops(shape, length)

    def kv_heads(self, shape: Shape, **options: Any) -> int:
        """G, the number of key and value heads."""
        projection, of_projection, _ = self._assign(options)
        return projection.kv_heads(shape, **of_projection)

    def projection_class(self, options: Mapping[str, Any]) -> type[Projection]:
        """The one that these options choose."""
        return self._chosen(options.get("projection"))

    def group_names(self, options: Mapping[str, Any]) -> list[str]:
        """Groups of parameters with a learning-rate multiplier of their own (`parameter_group`)."""
        own = dict.fromkeys(name for name, _ in self.compatibility.groups())
        return [*self.projection_class(options).parameter_groups, *own]

    def kept_numbers(self, shape: Shape, length: int, dropout: float = 0.0, **options: Any) -> int | None:
        """Numbers of one sequence kept for the backward pass by a layer of float32 on a CPU, weights and masks of
        dropout aside: x, what the maps and the scores keep, values and context. None if no closed form is known.
        """
        projection, of_projection, of_compatibility = self._assign(options)
        if self.compatibility.kept_with and projection_name(projection) not in self.compatibility.kept_with:
            return None
        path: AttendPath = "fused" if not dropout and self.compares and self.compatibility.fuses else "plain"
        path = path if self.compatibility.uses_input else "shared_rows"
        maps = projection.kept(shape, length, path == "fused", **of_projection)
        scores = self.compatibility.kept(shape, length, path, **of_compatibility)
        if maps is None or scores is None:
            return None
        attended = {"plain": 2 * shape.inner_size, "fused": shape.inner_size + shape.num_heads}
        return maps + scores + length * (shape.hidden_size + attended.get(path, shape.inner_size))

    def _assign(self, options: Mapping[str, Any]) -> tuple[type[Any], dict[str, Any], dict[str, Any]]:
        """Returns the projection with its options, and the compatibility's options."""
        rest = dict(options)
        projection = self._chosen(rest.pop("projection", None))
        if self.compares and not projection.compares:
            made = projection_name(projection)
            raise ValueError(f"{self.name} compares queries with keys, and projection = {made!r} makes none")
        of_projection, of_compatibility = options_of(projection), options_of(self.compatibility)
        for option in rest:
            if option not in of_projection and option not in of_compatibility:
                if option == "kv_heads":
                    made = projection_name(projection)
                    able = " or ".join(repr(name) for name, kind in PROJECTIONS.items() if option in options_of(kind))
                    raise ValueError(
                        f"{self.name}: kv_heads = {rest[option]!r} groups keys and values whose map is no query's, and "
                        f"projection = {made!r} has none of both: take projection = {able}"
                    )
                known = ["projection", *of_projection, *of_compatibility]
                raise ValueError(f"{self.name} has no option {option!r}; {suggest(option, known)}")
        return (
            projection,
            {k: v for k, v in rest.items() if k in of_projection},
            {k: v for k, v in rest.items() if k in of_compatibility},
        )

    def _chosen(self, name: str | None) -> type[Projection]:
        if name is not None:
            if name not in PROJECTIONS:
                raise ValueError(f"unknown projection {name!r} for {self.name}; {suggest(name, PROJECTIONS)}")
            return PROJECTIONS[name]
        if self.projection is None:
            parts = [mechanism(part) for part in self.name.split("+")]
            wanted = ", ".join(f"{part.name} {projection_name(part.projection)}" for part in parts if part.compares)
            raise ValueError(
                f"{self.name} needs one projection for all its parts, and they want different ones ({wanted}): "
                "leave one out, or give the option projection"
            )
        return self.projection

    @property
    def compares(self) -> bool:
        """Whether it needs queries and keys."""
        return self.compatibility.compares

    @property
    def any_queries(self) -> bool:
        """Whether the queries at some places of a sequence can attend without the others."""
        return self.cross or self.compatibility.any_queries

    @property
    def learns(self) -> bool:
        """Whether a gradient goes through the scores."""
        return self.compatibility.learns

    @property
    def rotary(self) -> bool:
        """Whether it makes no sense but with rotary positions."""
        return self.compatibility.rotary


_MECHANISMS: dict[str, Mechanism] = open_to_plugins({})
open_to_plugins(PROJECTIONS, lambda name, made: _require_slot(f"projection {name!r}", made, Projection))


def register(mechanism: Mechanism) -> Mechanism:
    """Make a mechanism known by its name to models, commands and the contract of `leanformer.attention.testing`."""
    slots: list[tuple[Any, type[Any]]] = [(mechanism.compatibility, Compatibility)]
    slots += [] if mechanism.projection is None else [(mechanism.projection, Projection)]
    for made, base in slots:
        _require_slot(f"mechanism {mechanism.name!r}", made, base)
    if not issubclass(mechanism.compatibility, Mixture):
        require_name("mechanism", mechanism.name)
    require_free("mechanism", mechanism.name, _MECHANISMS)
    _MECHANISMS[mechanism.name] = mechanism
    return mechanism


def _require_slot(what: str, made: Any, base: type[Any]) -> None:
    """Raises ValueError unless `made` is a class that derives from `base` and defines what `base` leaves open."""
    require_subclass(what, made, base)
    if missing := [name for name in OPEN if getattr(made, name) is getattr(base, name)]:
        raise ValueError(f"{what}: {made.__name__} lacks {', '.join(missing)}: define what {base.__name__} leaves open")
    for old in ("position_tables", "rotary_phases", "tied_maps"):
        if hasattr(made, old):
            raise ValueError(f"{what}: {old} of {made.__name__} is not read: declare parameter_groups")
    require_groups(made.__name__, made.parameter_groups)


OPEN = ("forward", "formula", "num_params", "flops")
"""The methods that every projection and every compatibility defines."""


def names() -> list[str]:
    """Registered mechanisms in reading order: the baseline first."""
    return list(_MECHANISMS)


def mechanism(name: str) -> Mechanism:
    """The mechanism of this name; `a+b` is a mixture of any two or more, registered or not."""
    if name in _MECHANISMS:
        return _MECHANISMS[name]
    if "+" in name:
        return _mixture(tuple(mechanism(part) for part in name.split("+")))
    raise ValueError(f"unknown attention mechanism {name!r}; {suggest(name, _MECHANISMS)}; a plug-in's needs --plugin")


@cache
def _mixture(parts: tuple[Mechanism, ...]) -> Mechanism:
    """The projection is that of the parts that compare; a part that only needs values is content with any."""
    compatibility = mixture_of(parts)
    wanted = {part.projection for part in parts if part.compares} or {ValueOnly}
    return Mechanism(
        name="+".join(part.name for part in parts),
        projection=wanted.pop() if len(wanted) == 1 else None,
        compatibility=compatibility,
        paper="Tay et al. 2020",  # whatever the parts, the mixing is theirs
        cross=all(part.cross for part in parts),
    )


def _found(name: str, plugins: list[Path]) -> Mechanism:
    for file in plugins:
        load_plugin(file)
    return mechanism(name)


def projection_name(projection: type[Projection] | None) -> str:
    """Its name in `PROJECTIONS`, or that of its class."""
    known = (name for name, built in PROJECTIONS.items() if built is projection)
    return next(known, getattr(projection, "__name__", "none"))
