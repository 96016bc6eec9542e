"""Settings that have another name: the one list of them. Old names are read for one minor version, those of
transformers are aliases that stay.

They may stand in a file of settings, in `--set`, in the brackets of `--attention` and in records. A record says all
settings of its run, so there an old name with its old default says nothing, and is left out.
"""

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple


class Renamed(NamedTuple):
    """The name here, with its tables, the default that an old one had, and values of transformers under ours."""

    name: str
    default: Any = None
    values: Mapping[str, Any] = {}


SETTINGS = {
    "training.table_rate": Renamed("training.lr_multipliers.position_tables", 1.0),
    "training.tied_rate": Renamed("training.lr_multipliers.tied_projections", 1.0),
    "training.phase_rate": Renamed("training.lr_multipliers.phases", 30.0),
    "training.muon_rate": Renamed("training.lr_multipliers.muon", 1.0),
}
ALIASES = {
    "training.mlm_probability": Renamed("training.mask_rate"),
    "training.max_grad_norm": Renamed("training.clip_norm"),
    "finetuning.max_grad_norm": Renamed("finetuning.clip_norm"),
    "model.position_embedding_type": Renamed("model.positions", values={"absolute": "learned"}),
}
"""Names that transformers has for a setting of ours."""
NAMES = SETTINGS | ALIASES


def current_name(setting: str) -> str:
    """The name that `table.key` has now."""
    return NAMES[setting].name if setting in NAMES else setting


def new_name(setting: str) -> str:
    """The same of a name that a user wrote; a note says so if it has changed."""
    if setting in NAMES:
        _note(setting)
    return current_name(setting)


def new_value(setting: str, value: Any) -> Any:
    """The value of `table.key` as it is called here."""
    known = NAMES[setting].values if setting in NAMES else {}
    return known.get(value, value) if isinstance(value, str) else value


def with_new_names(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of settings that a user wrote, under today's names. ValueError if a setting has both of its names."""
    return _moved(tables, recorded=False)


def as_recorded(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a record under today's names, without a note, and without old names that have their defaults."""
    return _moved(tables, recorded=True)


def _moved(tables: Mapping[str, Any], *, recorded: bool) -> dict[str, Any]:
    new = dict(tables)
    for old, renamed in (SETTINGS if recorded else NAMES).items():
        table, _, key = old.partition(".")
        if not isinstance(new.get(table), Mapping) or key not in new[table]:
            continue
        value = new_value(old, new[table][key])
        new[table] = {name: each for name, each in new[table].items() if name != key}
        *path, last = renamed.name.split(".")
        place = new
        for name in path:
            if not isinstance(place.get(name) or {}, Mapping):
                raise ValueError(f"{'.'.join(path)} = {place[name]!r}: it is a table, and {old} belongs into it")
            place[name] = dict(place.get(name) or {})
            place = place[name]
        if recorded:
            place |= {} if value == renamed.default else {last: value}
            continue
        if last in place:
            raise ValueError(f"{old} is another name of {renamed.name}, and both are given: leave out {old}")
        _note(old)
        place[last] = value
    return new


@cache
def _note(old: str) -> None:
    ours = NAMES[old].name
    old_name = f"note: {old} is now {ours}; the old name is read for one more version"
    alias = f"note: {old} is transformers' name of {ours}, by which records call it"
    print(old_name if old in SETTINGS else alias, file=sys.stderr)
