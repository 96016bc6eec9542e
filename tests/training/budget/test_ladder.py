"""The sizes of a plan."""

import pytest

from leanformer import recipes
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.training.budget.ladder import LADDER, at_size


@pytest.mark.parametrize("name", ["fast", "bert"])
def test_a_recipe_at_its_own_size_is_itself(name):
    model = recipes.load(name)["model"]
    assert at_size(model, model["num_hidden_layers"], model["hidden_size"]) == model


def test_heads_and_feed_forward_layers_keep_their_proportions():
    model = at_size(recipes.load("fast")["model"], 2, 128)
    assert (model["num_attention_heads"], model["intermediate_size"], model["num_hidden_layers"]) == (2, 344, 2)
    assert at_size({}, 12, 768) == {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072
    }  # fmt: skip


def test_every_size_has_about_twice_as_many_parameters_as_the_one_before():
    sizes = [LeanformerConfig(vocab_size=8192, **at_size(recipes.load("fast")["model"], *each)) for each in LADDER]
    counts = [ledger(config, 128, 19)["parameters"]["total"] for config in sizes]
    ratios = [after / before for before, after in zip(counts, counts[1:], strict=False)]
    assert all(1.5 < ratio < 2.5 for ratio in ratios)
