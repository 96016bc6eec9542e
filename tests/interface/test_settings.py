"""Recipes, tables and keywords become settings; what is misspelt, doubled or impossible is refused."""

import pytest

from leanformer import recipes
from leanformer.interface.settings import request

TABLES = ("model", "training")


def test_keywords_override_tables_which_override_the_recipe(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[training]\nbatch_size = 70\nlearning_rate = 0.5\n[training.lr_multipliers]\nphases = 3.0\n")
    recipe = recipes.load("fast")
    asked = request({"learning_rate": 0.25, "hidden_size": 96}, TABLES, settings=file, recipe="fast")
    assert asked.settings.training.batch_size == 70 and asked.settings.training.learning_rate == 0.25
    assert asked.settings.model["hidden_size"] == 96
    assert asked.settings.model["num_hidden_layers"] == recipe["model"]["num_hidden_layers"]
    assert asked.settings.training.max_tokens == recipe["training"]["max_tokens"]
    named = {"training.batch_size", "training.learning_rate", "training.lr_multipliers", "model.hidden_size"}
    assert asked.keep == named and asked.budget == {}
    assert request({}, TABLES, settings={"training": {"batch_size": 7}}).settings.training.batch_size == 7


def test_a_budget_of_the_caller_replaces_that_of_the_recipe():
    training = request({"max_steps": 40}, TABLES, recipe="fast").settings.training
    assert training.max_steps == 40 and training.max_tokens is None


def test_tables_within_tables_are_merged():
    given = {"model": {"attention_options": {"rank": 4, "heads": 2}}}
    asked = request({"attention_options": {"rank": 8}}, TABLES, settings=given)
    assert asked.settings.model["attention_options"] == {"rank": 8, "heads": 2}


def test_names_of_transformers_are_known(capsys):
    asked = request({"mlm_probability": 0.2, "position_embedding_type": "absolute"}, TABLES)
    assert asked.settings.training.mask_rate == 0.2 and asked.settings.model["positions"] == "learned"


@pytest.mark.parametrize(
    "budget, seconds", [({"hours": 0.5}, 1800.0), ({"minutes": 2}, 120.0), ({"tokens": 700}, None), ({}, None)]
)
def test_a_budget_is_in_seconds_or_tokens(budget, seconds):
    expected = {} if not budget else {"tokens": 700} if seconds is None else {"seconds": seconds}
    assert request({}, TABLES, recipe="fast", **budget).budget == expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"recipe": "fats"}, "did you mean 'fast'"),
        ({"settings": 3}, "settings = 3: give a file, or tables"),
        ({"settings": {"trainig": {}}}, "unknown table of settings .trainig.: did you mean 'training'"),
        ({"settings": {"training": 3}}, "setting training must be a table"),
        ({"recipe": "fast", "hours": 1, "tokens": 5}, "--hours 1 and --tokens 5 are both budgets"),
        ({"recipe": "fast", "minutes": -1}, "--minutes -1: write a number above 0"),
        ({"recipe": "fast", "minutes": "ten"}, "--minutes 'ten': write a number above 0"),
        ({"recipe": "fast", "hours": float("nan")}, "--hours nan: write a number above 0"),
        ({"minutes": 3}, "--minutes 3: say what to train"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        request({}, TABLES, **arguments)


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"learning_rat": 1}, "unknown setting learning_rat: did you mean 'learning_rate'"),
        ({"temperature": 2.0}, "unknown setting temperature"),
        ({"batch_size": "many"}, "training.batch_size = 'many': expected int"),
        ({"hidden_size": -3}, "model.hidden_size"),
    ],
)
def test_a_keyword_is_a_setting_of_these_tables(keywords, message):
    with pytest.raises(ValueError, match=message):
        request(keywords, TABLES)
