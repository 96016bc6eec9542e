"""What stands between the commas of `--attention`: a mechanism, with options of its own in brackets.

pairwise,shared                              two mechanisms
random+dot_product                           a mixture of mechanisms
pairwise[coefficients_init=identity]         a mechanism with an option
dot_product[projection=shared_key_value]     a cell of the grid of projections and compatibilities
dot_product[model.intermediate_size=640]     a model of another size: a baseline as small as its challenger
pairwise[model.mixer=convolution,model.mixer_options.kernel=5]    another token mixer around it, with an option
dot_product[parameters=shared]               the same, its size found (`matching.py`); also width=, flops=
dot_product[training.optimizer=muon]         another way to train it
random[training.lr_multipliers.position_tables=100]    a multiple of the learning rate for a group of parameters
dot_product[recipe=bert]    another recipe that comes with the package (`leanformer recipes`)
dot_product[config=my-recipe.toml]           another recipe: the [model] and [training] of that file
small=dot_product[model.hidden_size=64]      an alias, which is the arm's name everywhere, in later brackets too
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from leanformer import recipes
from leanformer.attention import PROJECTIONS, Compatibility, Projection, mechanism, names
from leanformer.models import LeanformerConfig
from leanformer.records.renamed import current_name, new_name, new_value
from leanformer.settings import TrainingSettings, parse_override, read_tables

MATCHES = ("parameters", "width", "flops")
"""What an arm may have as much of as another one."""


@dataclass(frozen=True)
class Variant:
    """One arm of a comparison; its label is its alias, or how the user wrote it, which `definition` is in either case.
    `model` and `training` hold settings of its own, `match` what it is to have as much of as which other arm."""

    label: str
    mechanism: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    model: dict[str, Any] = field(default_factory=dict, hash=False)
    training: dict[str, Any] = field(default_factory=dict, hash=False)
    match: "dict[str, Variant]" = field(default_factory=dict, hash=False)
    definition: str = field(default="", compare=False)


def parse_variants(text: str) -> list[Variant]:
    variants: list[Variant] = []
    for part in _split(text):
        alias, definition = _aliased(part)
        variant = _parse(definition, variants)
        variants.append(replace(variant, label=alias) if alias else variant)
    if not variants:
        raise ValueError(f"--attention {text!r} names no mechanism; known: {', '.join(names())}")
    labels = [variant.label for variant in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"--attention names {label} twice")
    for one, other in combinations(variants, 2):
        if replace(one, label="") == replace(other, label=""):
            raise ValueError(f"--attention has one arm twice, as {one.label} and as {other.label}: leave one out")
    return variants


def label_of(text: str, variants: list[Variant]) -> str:
    """Returns the label of the arm that `text` means: its alias, or the arm as it was written."""
    return text.strip() if text.strip() in [variant.label for variant in variants] else _parse(text.strip()).label


def labels_of(text: str, variants: list[Variant]) -> list[str]:
    return [label_of(part, variants) for part in _split(text)]


def sized_variants(text: str) -> list[Variant]:
    """Returns the variants of `text`; ValueError for one whose size or budget only a comparison finds."""
    variants = parse_variants(text)
    for variant in variants:
        for key in variant.match:
            raise ValueError(f"--attention {variant.label!r}: {key}= is for leanformer compare; write model.KEY=value")
    return variants


def grid(*, rotary: bool) -> list[Variant]:
    """Every projection with every compatibility it serves, mixtures aside: a published name where the pair has one,
    else the name of the compatibility's first mechanism with its `projection` option. The baseline stands first.

    Without `rotary` positions what needs them is left out.
    """
    rows: dict[tuple[type[Projection], type[Compatibility]], str] = {}
    first: dict[type[Compatibility], str] = {}
    for name in names():
        row = mechanism(name)
        if "+" in name or (row.rotary and not rotary):
            continue
        rows.setdefault((row.projection_class({}), row.compatibility), name)
        first.setdefault(row.compatibility, name)
    variants = []
    for compatibility, name in first.items():
        own = [(name, kind) for kind, made in rows if made is compatibility and kind not in PROJECTIONS.values()]
        for projection, built in own + list(PROJECTIONS.items()) * compatibility.in_grid:
            if mechanism(name).compares == (not built.compares):  # nothing to compare, or weights that never learn
                continue
            published = rows.get((built, compatibility))
            variants.append(_parse(published or f"{name}[projection={projection}]"))
    return variants


def _split(text: str) -> list[str]:
    """Returns the parts between the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _aliased(text: str) -> tuple[str, str]:
    """ "small=dot_product[a=1]" -> ("small", "dot_product[a=1]"); without an alias the first is empty."""
    found = re.fullmatch(r"([^\[\]=]*)=(.+)", text)
    if found is None:
        return "", text
    alias, definition = (part.strip() for part in found.groups())
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", alias):
        raise ValueError(f"--attention {text!r}: make the alias of letters, digits, '.', '_' and '-'")
    if alias in names() and alias != definition:
        raise ValueError(f"--attention {text!r}: {alias} is a mechanism; give another alias")
    return alias, definition


def _parse(text: str, arms: Sequence[Variant] = ()) -> Variant:
    """Returns the arm; `arms` are those written before it, which its brackets may name."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", text)
    if match is None:
        raise ValueError(f"--attention {text!r}: write a mechanism as name or name[option=value,...]")
    name, listed = match.groups()
    options: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {"model": {}, "training": {}, "match": {}}
    label, seen = text, list[str]()
    for item in _split(listed or ""):
        (_, *names), value = parse_override(f"option.{item}")
        written = ".".join(names)
        value, setting = new_value(written, value), new_name(written)
        _require_once(text, setting, seen)
        *prefix, key = setting.split(".")
        if not prefix and key == "recipe":
            for table, values in _recipe(text, recipes.path(str(value))).items():
                own[table] |= values
        elif not prefix and key == "config":
            for table, values in _recipe(text, Path(str(value))).items():
                own[table] |= values
            label = text.replace(str(value), Path(str(value)).stem)  # it names the run's folder
        elif not prefix and key in MATCHES:
            own["match"][key] = _matched(text, key, str(value), arms)
        elif not prefix:
            options[key] = value
        elif prefix[0] in ("model", "training") and len(prefix) == 1:
            _require_free(text, item.strip(), prefix[0], key)
            own[prefix[0]][key] = value
        elif ".".join(prefix) in TABLES:
            own[prefix[0]].setdefault(prefix[1], {})[key] = value
        else:
            raise ValueError(
                f"--attention {text!r}: {item.strip()} is neither an option of {name} nor model.KEY=value, "
                "training.KEY=value, recipe=NAME or config=FILE"
            )
    _check(text, name, options)
    if {"parameters", "width"} <= own["match"].keys():
        raise ValueError(f"--attention {text!r}: parameters= and width= both set the size; leave one out")
    return Variant(label, name, options, **own, definition=label)


TABLES = ("model.mixer_options", "training.lr_multipliers")
"""Tables of settings whose entries an arm changes one by one."""
FIXED = {
    "model.attention": "the mechanism is the name before the bracket",
    "model.attention_options": "the mechanism's options stand in the bracket by their own names",
    "training.seed": "seeds are the comparison's: --seeds",
    "training.objective": "one comparison has one objective",
}
"""What an arm cannot choose, and why."""


def _check(text: str, name: str, options: dict[str, Any]) -> None:
    try:
        mechanism(name).check_options(options)
    except ValueError as error:
        for table, known in (("model", fields(LeanformerConfig)), ("training", fields(TrainingSettings))):
            for key in options:
                setting = current_name(f"{table}.{key}")
                if key in {f.name for f in known} or setting != f"{table}.{key}":
                    raise ValueError(f"--attention {text!r}: {error}, or write {setting}={options[key]}") from None
        raise


def _require_once(text: str, setting: str, seen: list[str]) -> None:
    """The label shows every setting, so that none may be dropped by another of the same name, or of its table's."""
    for other in seen:
        if setting == other or setting.startswith(f"{other}.") or other.startswith(f"{setting}."):
            raise ValueError(f"--attention {text!r} sets {setting} twice: leave one out")
    seen.append(setting)


def _matched(text: str, key: str, value: str, arms: Sequence[Variant]) -> Variant:
    other = next((arm for arm in arms if arm.label == value), None) or _parse(value)
    if other.match or other.training:
        raise ValueError(
            f"--attention {text!r}: {key} is that of a mechanism, with options and model.KEY=value at most, not {value}"
        )
    return other


def _recipe(text: str, path: Path) -> Mapping[str, dict[str, Any]]:
    """[model] and [training] of a file of settings; what a comparison decides itself must not be in it."""
    tables = read_tables(path)
    for table, values in tables.items():
        if table not in ("model", "training"):
            raise ValueError(f"--attention {text!r}: {path} has a table [{table}]; an arm takes [model] and [training]")
        for key in values:
            _require_free(text, str(path), table, key)
    return tables


def _require_free(text: str, where: str, table: str, key: str) -> None:
    reason = FIXED.get(f"{table}.{key}")
    if reason is not None:
        raise ValueError(f"--attention {text!r}: {where} sets {table}.{key}; {reason}")
