"""The plan of the study, read from a TOML file that is written before the first run.

[recovery]              settings of `leanformer distill`, by table: [recovery.training], [recovery.distillation]
[[target]]              name, and what `leanformer convert` is given: attention, attention_options, keep_layers
aim_start, aim_end      Spearman correlations that are hoped for, of the first file of pairs
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Target:
    name: str
    attention: str | None = None
    attention_options: dict[str, Any] = field(default_factory=dict)
    keep_layers: list[int] | None = None
    aim_start: float | None = None
    aim_end: float | None = None
    recovery: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings that only this target's recovery has."""

    @property
    def conversion(self) -> dict[str, Any]:
        how = {
            "attention": self.attention,
            "attention_options": self.attention_options,
            "keep_layers": self.keep_layers,
        }
        return {key: value for key, value in how.items() if value}


@dataclass(frozen=True, kw_only=True)
class Plan:
    recovery: dict[str, dict[str, Any]]
    target: list[Target]

    def settings(self, target: Target) -> dict[str, dict[str, Any]]:
        """Returns the tables of settings for the target's recovery."""
        tables = {**self.recovery, **target.recovery}
        return {name: {**self.recovery.get(name, {}), **target.recovery.get(name, {})} for name in tables}


def read(path: Path) -> Plan:
    """Returns the plan; TypeError for a key that no plan has."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return Plan(**tables | {"target": [Target(**row) for row in tables["target"]]})
