"""Settings from keyword arguments.

recipe        the name of a recipe that comes with leanformer: where it says nothing, the defaults apply
settings      a TOML file, or the same tables as nested dictionaries; they override the recipe
keywords      single settings by their plain names, such as learning_rate=1e-3 or hidden_size=128; they override all
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import get_annotations
from pathlib import Path
from typing import Any

from leanformer.data.corpus import Prepared
from leanformer.models import LeanformerConfig
from leanformer.records.renamed import NAMES, with_new_names
from leanformer.settings import (
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
KEYS = {
    "model": tuple(get_annotations(LeanformerConfig)),
    "training": tuple(each.name for each in fields(TrainingSettings)),
    "distillation": tuple(each.name for each in fields(DistillationSettings)),
    "finetuning": tuple(each.name for each in fields(FinetuningSettings)),
}
Budgets = tuple[float | None, float | None, int | None]
"""The arguments minutes, hours and tokens, of which at most one is given."""
BUDGETS = ("max_steps", "max_tokens", "max_seconds")


def settings_of(
    given: Given,
    keywords: Mapping[str, Any],
    tables: Sequence[str],
    *,
    recipe: str | None = None,
    arm: Mapping[str, Any] | None = None,
) -> Settings:
    """Returns the settings; the keywords are those of these `tables`. Raises ValueError for a name that none has.

    `arm` holds the tables of a mechanism that the caller names with its options; the keywords alone override it.
    """
    merged: dict[str, Any] = {}
    if recipe is not None:
        from leanformer import recipes

        merged = with_new_names(recipes.load(recipe))
    for each in (_read(given), arm or {}, _sorted(keywords, tables)):
        merged = _merged(merged, with_new_names(each))
    return settings_from(merged)


def planned(settings: Settings, data: Prepared, budgets: Budgets, *, quiet: bool) -> Settings:
    """Returns the settings with a budget of time on this machine or of tokens, and prints what follows from it."""
    minutes, hours, tokens = budgets
    given = {"minutes": minutes, "hours": hours, "tokens": tokens}
    named = [name for name, value in given.items() if value is not None]
    named += [name for name in BUDGETS if named and getattr(settings.training, name) is not None]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} are both given: a run has one budget")
    if not named:
        return settings
    if not (given[named[0]] or 0) > 0:
        raise ValueError(f"{named[0]} = {given[named[0]]!r}: must be above 0")
    from leanformer.training import budget

    seconds = None if tokens is not None else 60 * (minutes or 0) + 3600 * (hours or 0)
    plan = budget.plan(settings, data, seconds=seconds, tokens=tokens)
    if not quiet:
        print(plan.sentence)
    return plan.settings


def _read(given: Given) -> Mapping[str, Any]:
    if isinstance(given, str | Path):
        return read_tables(Path(given))
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f'settings = {given!r}: give a file, or tables such as {{"training": {{"batch_size": 64}}}}')
    return given or {}


def _sorted(keywords: Mapping[str, Any], tables: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the keywords by the table that each belongs to."""
    known = {key: table for table in reversed(tables) for key in (*KEYS[table], *_other_names(table))}
    found: dict[str, dict[str, Any]] = {}
    for key, value in keywords.items():
        if key not in known:
            raise ValueError(f"unknown setting {key}: {suggest(key, known)}")
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
