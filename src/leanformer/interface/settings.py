"""Settings from keyword arguments.

    recipe        the name of a recipe that comes with leanformer: where it says nothing, the defaults apply
    settings      a TOML file, or the same tables as nested dictionaries; they override the recipe
    keywords      single settings by their plain names, such as learning_rate=1e-3 or hidden_size=128; they override all
    minutes, hours, tokens    a budget, for which a plan sets what neither settings nor keywords give

Names in messages are those of the command line: `--hours` is hours=.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import get_annotations
from math import inf
from pathlib import Path
from typing import Any

from leanformer import recipes
from leanformer.models import LeanformerConfig
from leanformer.records.renamed import NAMES, with_new_names
from leanformer.settings import (
    BUDGETS,
    DistillationSettings,
    FinetuningSettings,
    Settings,
    TrainingSettings,
    read_tables,
    settings_from,
)
from leanformer.spelling import suggest

Given = Mapping[str, Any] | str | Path | None
"""What the argument `settings` may be."""
BUDGET = ("minutes", "hours", "tokens")
"""Arguments of a function that a misspelt keyword may mean, beside settings."""
KEYS = {
    "model": tuple(get_annotations(LeanformerConfig)),
    "training": tuple(each.name for each in fields(TrainingSettings)),
    "distillation": tuple(each.name for each in fields(DistillationSettings)),
    "finetuning": tuple(each.name for each in fields(FinetuningSettings)),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a caller asks for: settings, the names of those that a plan must keep, and a budget to plan for."""

    settings: Settings
    keep: frozenset[str] = frozenset()
    budget: dict[str, Any] = field(default_factory=dict)
    """Either `seconds` or `tokens`; empty if the settings hold the budget."""


def request(
    keywords: Mapping[str, Any],
    tables: Sequence[str],
    *,
    settings: Given = None,
    recipe: str | None = None,
    arm: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    minutes: float | None = None,
    hours: float | None = None,
    tokens: int | None = None,
) -> Request:
    """Returns the request; the keywords are settings of these `tables`. Raises ValueError for a name that none has.

    `arm` holds the tables of a mechanism that the caller names with its options; the keywords alone override it.
    `defaults` are tables that everything else overrides.
    """
    own: dict[str, Any] = {}
    for each in (_read(settings), arm or {}, _by_table(keywords, tables)):
        own = _merged(own, with_new_names(each))
    keep = frozenset(f"{table}.{key}" for table, values in own.items() if isinstance(values, Mapping) for key in values)
    merged = _merged(defaults or {}, own) if recipe is None else _merged(_recipe(recipe, own), own)
    budget = _budget({"hours": hours, "minutes": minutes, "tokens": tokens}, known=recipe is not None or bool(settings))
    return Request(settings=settings_from(merged), keep=keep, budget=budget)


def _recipe(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables of a recipe, without its budget if the caller gives one."""
    tables = with_new_names(recipes.load(name))
    given = own.get("training")
    if isinstance(given, Mapping) and any(given.get(key) is not None for key in BUDGETS):
        tables["training"] = {key: value for key, value in tables["training"].items() if key not in BUDGETS}
    return tables


def _budget(given: Mapping[str, float | None], *, known: bool) -> dict[str, Any]:
    """Returns `seconds` or `tokens` for a plan; empty without a budget. `known`: there are settings to plan with."""
    named = {name: value for name, value in given.items() if value is not None}
    for name, value in named.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < inf:
            raise ValueError(f"--{name} {f'{value:g}' if number else repr(value)}: write a number above 0")
    said = [f"--{name} {value:g}" for name, value in named.items()]
    if len(said) > 1:
        raise ValueError(f"{' and '.join(said)} are both budgets: leave one of them out")
    if said and not known:
        raise ValueError(f"{said[0]}: say what to train by --recipe fast or a CONFIG.toml")
    if "tokens" in named:
        return {"tokens": named["tokens"]}
    if not named:
        return {}
    ((name, amount),) = named.items()
    return {"seconds": amount * {"hours": 3600, "minutes": 60}[name]}


def _read(given: Given) -> Mapping[str, Any]:
    if isinstance(given, str | Path):
        return read_tables(Path(given))
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f'settings = {given!r}: give a file, or tables such as {{"training": {{"batch_size": 64}}}}')
    return given or {}


def _by_table(keywords: Mapping[str, Any], tables: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the keywords by the table that each belongs to."""
    known = {key: table for table in reversed(tables) for key in (*KEYS[table], *_other_names(table))}
    found: dict[str, dict[str, Any]] = {}
    for key, value in keywords.items():
        if key not in known:
            raise ValueError(f"unknown setting {key}: {suggest(key, [*known, *BUDGET, 'recipe', 'settings'])}")
        found.setdefault(known[key], {})[key] = value
    return found


def _other_names(table: str) -> list[str]:
    """Returns names that a setting of the table has in transformers, or had before."""
    return [name.partition(".")[2] for name in NAMES if name.startswith(f"{table}.")]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Returns both tables; where both have a value, that of `above`, and tables within are merged in the same way."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
