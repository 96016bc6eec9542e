"""The recipes that come with the package."""

import json
import tomllib

import pytest

from leanformer import recipes
from leanformer.settings import settings_from


def test_the_recommended_recipe_is_the_first():
    assert recipes.names()[0] == "fast" and {"fast", "bert", "gpu-base"} <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_its_file_and_has_a_budget_in_tokens(name):
    assert recipes.load(name) == tomllib.loads(recipes.path(name).read_text(encoding="utf-8"))
    assert settings_from(recipes.load(name)).training.max_tokens > 0


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="recipe 'fsat': did you mean 'fast'.*leanformer recipes describes them"):
        recipes.load("fsat")


def test_the_command_describes_every_recipe_in_a_line(command):
    status, out, _ = command("recipes", "--json")
    rows = json.loads(out)
    assert status == 0 and [row["name"] for row in rows] == recipes.names()
    fast = rows[0]
    assert (fast["layers"], fast["width"], fast["million_tokens"]) == (4, 256, 8.0)
    status, out, _ = command("recipes")
    lines = [line for line in out.splitlines() if line]
    assert status == 0 and len(lines) == 1 + len(rows)
    for row, line in zip(rows, lines[1:], strict=True):
        assert line.startswith(row["name"]) and row["about"] in line
        assert not row["about"].startswith("#") and row["about"].endswith(".")
