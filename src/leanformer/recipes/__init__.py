"""Recipes that come with the package: settings of [model] and [training] that were measured together.

A recipe is a settings file in this folder. The first line of the file is a comment, which describes the recipe.
"""

from pathlib import Path
from typing import Any

from leanformer.settings import read_tables
from leanformer.spelling import suggest

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Returns the names of all recipes, the recommended one first."""
    found = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return sorted(found, key=lambda name: name != "fast")


def path(name: str) -> Path:
    """Returns the recipe's settings file; raises ValueError for an unknown name."""
    if name not in names():
        raise ValueError(f"recipe {name!r}: {suggest(name, names())}; leanformer recipes describes them")
    return FOLDER / f"{name}.toml"


def load(name: str) -> dict[str, Any]:
    """Returns the recipe's tables of settings."""
    return read_tables(path(name))


def table() -> list[dict[str, Any]]:
    """Returns one row per recipe: its name, what it is, its size and its budget of tokens, both without a plan."""
    rows = []
    for name in names():
        about, tables = path(name).read_text(encoding="utf-8").partition("\n")[0], load(name)
        model, training = tables["model"], tables["training"]
        rows.append(
            {
                "name": name,
                "layers": model["num_hidden_layers"],
                "width": model["hidden_size"],
                "million_tokens": training["max_tokens"] / 1e6,
                "about": about.removeprefix("# "),
            }
        )
    return rows
