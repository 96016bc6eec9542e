"""Settings that have another name: the one list of them. Old names are read for one minor version, those of
transformers are aliases that stay.

They may stand in a file of settings, in `--set`, in the brackets of `--attention` and in records. A record says all
settings of its run, so there an old name with its old default says nothing, and is left out.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
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


def renamed(setting: str) -> Renamed | None:
    """Returns today's name of an old name or an alias, `table.key`, and None for any other setting.

    The table of a task, [finetuning.TASK], has the aliases of [finetuning].
    """
    table, _, key = setting.rpartition(".")
    known = NAMES.get(f"finetuning.{key}") if table.startswith("finetuning.") else NAMES.get(setting)
    return known and known._replace(name=known.name.replace("finetuning", table, 1))


def current_name(setting: str) -> str:
    """Returns the name that `table.key` has now."""
    known = renamed(setting)
    return setting if known is None else known.name


def new_name(setting: str) -> str:
    """Returns the same for a name that a user wrote; a note says so if it has changed."""
    if renamed(setting) is not None:
        _note(setting)
    return current_name(setting)


def new_value(setting: str, value: Any) -> Any:
    """Returns the value of `table.key` as it is called here."""
    known = renamed(setting)
    return value if known is None or not isinstance(value, str) else known.values.get(value, value)


def require_one_name(written: str, before: Iterable[str]) -> None:
    """Raises ValueError if a setting, or one within it, was given `before` under another of its names."""
    now = current_name(written)
    for other in before:
        same = f"{now}.".startswith(f"{current_name(other)}.") or f"{current_name(other)}.".startswith(f"{now}.")
        old = next((name for name in (written, other) if renamed(name) is not None), None)
        if same and other != written and old is not None:
            ours = current_name(old)
            raise ValueError(f"{old} is another name of {ours}, and both are given: leave out {old}")


def with_new_names(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of settings that a user wrote, under today's names. ValueError if a setting has both of its names."""
    return _moved(tables, recorded=False)


def as_recorded(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a record under today's names, without a note, and without old names that have their defaults."""
    return _moved(tables, recorded=True)


def _moved(tables: Mapping[str, Any], *, recorded: bool) -> dict[str, Any]:
    new = dict(tables)
    for *path, key in _settings(tables):
        old = ".".join([*path, key])
        known = renamed(old)
        if known is None or (recorded and old not in SETTINGS):
            continue
        value = new_value(old, _table(new, path, old).pop(key))
        *path, key = known.name.split(".")
        place = _table(new, path, old)
        if recorded:
            place |= {} if value == known.default else {key: value}
            continue
        if key in place:
            raise ValueError(f"{old} is another name of {known.name}, and both are given: leave out {old}")
        _note(old)
        place[key] = value
    return new


def _settings(tables: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yields table and key of every setting, and the keys of the tables in [finetuning]."""
    for table, settings in tables.items():
        for key, value in settings.items() if isinstance(settings, Mapping) else ():
            yield table, key
            if table == "finetuning" and isinstance(value, Mapping):
                yield from ((table, key, each) for each in value)


def _table(tables: dict[str, Any], path: list[str], old: str) -> dict[str, Any]:
    """Returns the table at `path`, after it and those around it are replaced by copies that may be changed."""
    for name in path:
        if not isinstance(tables.get(name) or {}, Mapping):
            raise ValueError(f"{'.'.join(path)} = {tables[name]!r}: it is a table, and {old} belongs into it")
        tables[name] = dict(tables.get(name) or {})
        tables = tables[name]
    return tables


@cache
def _note(old: str) -> None:
    ours = current_name(old)
    old_name = f"note: {old} is now {ours}; the old name is read for one more version"
    alias = f"note: {old} is transformers' name of {ours}, by which records call it"
    print(old_name if old in SETTINGS else alias, file=sys.stderr)
