"""A frozen table of settings: every name known, every value of its annotated type, or a `ValueError` says which."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from leanformer.spelling import suggest


@dataclass(frozen=True, kw_only=True)
class Table:
    """A frozen table of settings that knows its own name in files and on the command line; it may hold others."""

    table = ""  # unannotated, hence no setting
    """The name of one that another holds, that of the other before it."""

    @classmethod
    def title(cls) -> str:
        return cls.table or cls.__name__.removesuffix("Settings").lower()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        return cls().updated(values)

    def updated(self, values: Mapping[str, Any]) -> Self:
        """With these values; a value that is a table of numbers has its entries changed, not replaced as a whole."""
        hints = get_type_hints(type(self))
        for key in values:
            if key not in hints:
                raise ValueError(f"unknown setting {self.title()}.{key}: {suggest(key, hints)}")
        return replace(self, **{k: self._new(k, v, hints[k]) for k, v in values.items()})

    def _new(self, key: str, value: Any, hint: Any) -> Any:
        name, old = f"{self.title()}.{key}", getattr(self, key)
        if isinstance(old, dict):
            return old | _checked(name, value, hint)
        if not isinstance(old, Table):
            return _checked(name, value, hint)
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} = {value!r}: it is a table, with keys such as {next(iter(asdict(old)))}")
        return old.updated(value)

    def _require(self, key: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"{self.title()}.{key} = {getattr(self, key)!r}: {rule}")


def _checked(key: str, value: Any, hint: Any) -> Any:
    """`value` as the annotated type: no silent truncation, whole numbers pass as floats, "none" as None."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None:
            return None
        return _checked(key, value, next(o for o in options if o is not type(None)))
    if origin is Literal:
        if value not in options:
            raise ValueError(f"{key} = {value!r}: {suggest(str(value), map(str, options))}")
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{key} = {value!r}: it is a table, such as {{ name = 1.0 }}")
        return {name: _checked(f"{key}.{name}", each, options[1]) for name, each in value.items()}
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{key} = {value!r}: expected a list of {options[0].__name__}, such as [1, 2]")
        return [_checked(key, each, options[0]) for each in value]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{key} = {value!r}: expected {hint.__name__}, got {type(value).__name__}")
    if hint is float and not math.isfinite(value):
        raise ValueError(f"{key} = {value!r}: must be finite")
    return value
