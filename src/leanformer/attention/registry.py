"""Published mechanisms are rows of a table: a name, a projection, a compatibility and the paper they come from."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest


@dataclass(frozen=True)
class Mechanism:
    """A projection and a compatibility under a published name; `cross`: memory may differ from x.

    Options are the keyword arguments of both constructors, and `projection`, which puts another projection of
    `PROJECTIONS` in the row's place: the grid of all projections times all compatibilities.
    """

    name: str
    projection: type[Any]
    compatibility: type[Any]
    paper: str
    cross: bool = True

    def build(self, shape: Shape, **options: Any) -> tuple[nn.Module, nn.Module]:
        projection, of_projection, of_compatibility = self._assign(options)
        return projection(shape, **of_projection), self.compatibility(shape, **of_compatibility)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError, with the nearest name, if an option is not one of this mechanism's."""
        self._assign(options)

    def options(self, projection: str | None = None) -> dict[str, Any]:
        """Name and default value of every option."""
        chosen = self.projection if projection is None else self._named_projection(projection)
        return {"projection": self._projection_name(chosen)} | _keywords(chosen) | _keywords(self.compatibility)

    def num_params(self, shape: Shape, **options: Any) -> int:
        """Parameters of projection and compatibility, in closed form."""
        projection, of_projection, of_compatibility = self._assign(options)
        return projection.num_params(shape, **of_projection) + self.compatibility.num_params(shape, **of_compatibility)

    def flops(self, shape: Shape, length: int, memory: int | None = None, **options: Any) -> int:
        """Forward FLOPs of projection, compatibility and attend for one sequence; no `memory` means self-attention.

        Matrix products only, two for a multiply-add.
        """
        projection, of_projection, of_compatibility = self._assign(options)
        context = 2 * shape.hidden_size * length * (memory or length)
        return (
            projection.flops(shape, length, memory, **of_projection)
            + self.compatibility.flops(shape, length, memory, **of_compatibility)
            + context
        )

    def _assign(self, options: Mapping[str, Any]) -> tuple[type[Any], dict[str, Any], dict[str, Any]]:
        """Each option to the constructor that takes it."""
        rest = dict(options)
        name = rest.pop("projection", None)
        projection = self.projection if name is None else self._named_projection(name)
        of_projection, of_compatibility = _keywords(projection), _keywords(self.compatibility)
        for option in rest:
            if option not in of_projection and option not in of_compatibility:
                known = ["projection", *of_projection, *of_compatibility]
                raise ValueError(f"{self.name} has no option {option!r}; {suggest(option, known)}")
        return (
            projection,
            {k: v for k, v in rest.items() if k in of_projection},
            {k: v for k, v in rest.items() if k in of_compatibility},
        )

    def _named_projection(self, name: str) -> type[Any]:
        if name not in PROJECTIONS:
            raise ValueError(f"unknown projection {name!r} for {self.name}; {suggest(name, PROJECTIONS)}")
        return PROJECTIONS[name]

    def _projection_name(self, projection: type[Any]) -> str:
        return next((name for name, known in PROJECTIONS.items() if known is projection), projection.__name__)


_MECHANISMS: dict[str, Mechanism] = {}
_PLUGINS: set[Path] = set()


def register(mechanism: Mechanism) -> Mechanism:
    """Make a mechanism known by its name to models, commands and the contract of `leanformer.attention.testing`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", mechanism.name):
        raise ValueError(f"mechanism name {mechanism.name!r}: use lower-case letters, digits and underscores")
    if mechanism.name in _MECHANISMS:
        raise ValueError(f"a mechanism named {mechanism.name!r} is registered already: choose another name")
    _MECHANISMS[mechanism.name] = mechanism
    return mechanism


def names() -> list[str]:
    """Registered mechanisms in reading order: the baseline first."""
    return list(_MECHANISMS)


def mechanism(name: str) -> Mechanism:
    if name not in _MECHANISMS:
        raise ValueError(f"unknown attention mechanism {name!r}; {suggest(name, _MECHANISMS)}")
    return _MECHANISMS[name]


def load_plugin(path: str | Path) -> list[str]:
    """Run a user's file, which calls `register`; the names it added. Loading the same file twice does nothing."""
    file = Path(path).resolve()
    if file in _PLUGINS:
        return []
    if not file.is_file():
        raise FileNotFoundError(f"plug-in {path} does not exist: give the path of a Python file")
    spec = importlib.util.spec_from_file_location(f"leanformer_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"plug-in {path} is not a Python file (its name must end in .py)")
    before = names()
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        for name in set(names()) - set(before):
            del _MECHANISMS[name]
        raise ValueError(f"plug-in {path} failed to load: {type(error).__name__}: {error}") from error
    _PLUGINS.add(file)
    return [name for name in names() if name not in before]


def _keywords(constructor: type[Any]) -> dict[str, Any]:
    """Keyword options of a constructor with their defaults: everything after `self` and `shape`."""
    parameters = list(inspect.signature(constructor.__init__).parameters.values())[2:]
    return {p.name: p.default for p in parameters}
