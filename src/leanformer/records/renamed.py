"""Settings that had another name before: the one list of them. Old names are read for one minor version.

They may stand in a file of settings, in `--set`, in the brackets of `--attention` and in records. A record says all
settings of its run, so there an old name with its old default says nothing, and is left out.
"""

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple


class Renamed(NamedTuple):
    """The new name, with its tables, and the default that the old one had."""

    name: str
    default: Any


SETTINGS = {
    "training.table_rate": Renamed("training.lr_multipliers.position_tables", 1.0),
    "training.tied_rate": Renamed("training.lr_multipliers.tied_projections", 1.0),
    "training.phase_rate": Renamed("training.lr_multipliers.phases", 30.0),
    "training.muon_rate": Renamed("training.lr_multipliers.muon", 1.0),
}


def current_name(setting: str) -> str:
    """The name that `table.key` has now."""
    return SETTINGS[setting].name if setting in SETTINGS else setting


def new_name(setting: str) -> str:
    """The same of a name that a user wrote; a note says so if it has changed."""
    if setting in SETTINGS:
        _note(setting)
    return current_name(setting)


def with_new_names(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of settings that a user wrote, under today's names. ValueError if a setting has both of its names."""
    return _moved(tables, recorded=False)


def as_recorded(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a record under today's names, without a note, and without old names that have their defaults."""
    return _moved(tables, recorded=True)


def _moved(tables: Mapping[str, Any], *, recorded: bool) -> dict[str, Any]:
    new = dict(tables)
    for old, renamed in SETTINGS.items():
        table, _, key = old.partition(".")
        if not isinstance(new.get(table), Mapping) or key not in new[table]:
            continue
        value = new[table][key]
        new[table] = {name: each for name, each in new[table].items() if name != key}
        *path, last = renamed.name.split(".")
        place = new
        for name in path:
            place[name] = dict(place.get(name) or {})
            place = place[name]
        if recorded:
            place |= {} if value == renamed.default else {last: value}
            continue
        if last in place:
            raise ValueError(f"{old} is the old name of {renamed.name}, and both are given: leave out {old}")
        _note(old)
        place[last] = value
    return new


@cache
def _note(old: str) -> None:
    print(f"note: {old} is now {SETTINGS[old].name}; the old name is read for one more version", file=sys.stderr)
