"""Arms whose size or budget is found: equal parameters within half a row, equal FLOPs within a step."""

import pytest

from leanformer.comparison.controls import OPTIONS, control
from leanformer.comparison.matching import matched
from leanformer.comparison.plan import PlannedRun
from leanformer.comparison.variants import grid, parse_variants, sized_variants
from leanformer.data.corpus import Corpus
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.settings import read_settings
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import model_config

SIZES = [
    "model.hidden_size=48",
    "model.num_hidden_layers=3",
    "model.num_attention_heads=4",
    "model.intermediate_size=160",
]
SIZES += ["model.max_position_embeddings=32", "training.sequence_length=32", "training.batch_size=4"]


def find(text, data, *overrides):
    """(settings, the arms with what was found, notes)."""
    settings = read_settings(None, [*SIZES, *overrides])
    return settings, *matched(parse_variants(text), settings, Corpus.open(data))


def config(variant, settings, data):
    run = PlannedRun(variant=variant, seed=1, learning_rate=1e-3, path="")
    return model_config(run.settings(settings), Corpus.open(data))


def parameters(variant, settings, data):
    return LeanformerForMaskedLM(config(variant, settings, data)).num_parameters()


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("forward", ["plain", "gated"])
@pytest.mark.parametrize(
    "other", ["shared", "pairwise[projection=shared_all]", "random", "dot_product[model.hidden_size=40]"]
)
@pytest.mark.parametrize("key", ["parameters", "width"])
def test_parameters_are_equal_within_half_a_row(data, key, other, forward, positions):
    more = (f"model.positions={positions}", f"model.feed_forward={forward}")
    settings, (arm, opponent), (note,) = find(f"dot_product[{key}={other}],{other}", data, *more)
    have, wanted = parameters(arm, settings, data), parameters(opponent, settings, data)
    matrices = 3 if forward == "gated" else 2
    row = 3 * (matrices * arm.model.get("hidden_size", 48) + matrices - 1)  # three layers, biases
    assert abs(have - wanted) <= row / 2
    assert f"{have:,} parameters" in note and f"{wanted:,}" in note
    assert set(arm.model) == {"intermediate_size"} | ({"hidden_size"} if key == "width" else set())


def test_a_narrower_model_keeps_its_proportions_and_its_heads(data):
    settings, (arm,), _ = find("dot_product[width=shared]", data, "model.positions=rotary")
    assert arm.model["hidden_size"] % 8 == 0 and arm.model["hidden_size"] < 48
    assert arm.model["intermediate_size"] / arm.model["hidden_size"] == pytest.approx(160 / 48, rel=0.35)
    _, (fine,), _ = find("dot_product[width=shared]", data, "model.head_size=12")
    assert fine.model["hidden_size"] not in (40, 44, 48), "with a head size of its own any width will do"


def test_groups_and_halves_stay_whole(data):
    mixed = ("model.mixer=convolution", "model.feed_forward_groups=3", "model.intermediate_size=159")
    settings, arms, _ = find("dot_product[width=shared],dot_product[parameters=shared]", data, *mixed)
    wanted = parameters(find("shared", data, *mixed)[1][0], settings, data)
    for arm in arms:
        found = config(arm, settings, data)
        assert found.intermediate_size % 3 == found.hidden_size % 8 == 0
        row = 3 * (2 * found.hidden_size + 3)  # one of each group, in three layers
        assert abs(parameters(arm, settings, data) - wanted) <= row / 2


def test_a_block_without_a_feed_forward_layer_has_none_to_size(data):
    asked = "dot_product[parameters=shared,model.block=mixing_only],shared"
    with pytest.raises(ValueError, match="block 'mixing_only' has no feed-forward layer whose size could be found"):
        find(asked, data)


def test_a_mixer_without_heads_is_as_large_as_another_arm(data):
    settings, (arm, other), _ = find("dot_product[parameters=shared,model.mixer=fourier],shared", data)
    assert abs(parameters(arm, settings, data) - parameters(other, settings, data)) <= 3 * (2 * 48 + 1) / 2


@pytest.mark.parametrize("budget", ["max_steps=1000", "max_tokens=70000"])
@pytest.mark.parametrize(("arm", "other"), [("shared", "dot_product"), ("dot_product", "shared"), ("random", "dense")])
def test_training_takes_as_many_flops_within_a_step(data, budget, arm, other):
    corpus = Corpus.open(data)
    settings, (cheap, dear), (note,) = find(f"{arm}[flops={other}],{other}", data, f"training.{budget}")

    def cost(variant):
        """FLOPs of a step, and of training."""
        training = PlannedRun(variant=variant, seed=1, learning_rate=1e-3, path="").settings(settings).training
        objective = MaskedLM(corpus, training)
        costs = ledger(config(variant, settings, data), 32, objective.scored)["flops_per_token"]["training"]
        return costs * objective.tokens(1), costs * objective.tokens(objective.total_steps)

    (step, ours), (theirs_a_step, theirs) = cost(cheap), cost(dear)
    assert abs(ours - theirs) <= step + theirs_a_step * budget.startswith("max_tokens")
    assert list(cheap.training) == [budget.partition("=")[0]] and other in note


def test_size_and_budget_may_both_be_found(data):
    settings, (arm,), notes = find("dot_product[width=shared,flops=shared]", data, "training.max_steps=1000")
    assert set(arm.model) == {"hidden_size", "intermediate_size"} and len(notes) == 2
    assert arm.training["max_steps"] == pytest.approx(1000, rel=0.1), "equal sizes cost nearly the same"


def test_arms_without_a_match_stay_as_they_are(data):
    _, arms, notes = find("dot_product,shared[scale_init=normal]", data)
    assert arms == parse_variants("dot_product,shared[scale_init=normal]") and notes == []


@pytest.mark.parametrize(
    ("arms", "more", "message"),
    [
        ("shared[flops=dot_product]", "training.max_seconds=5", "equal FLOPs need a budget in steps or tokens"),
        ("shared[flops=dot_product,training.max_steps=9]", "training.max_steps=5", "leave one out"),
        ("random[parameters=fixed_random]", "model.max_position_embeddings=500", "by width= instead of parameters="),
    ],
)
def test_what_cannot_be_found_is_refused(data, arms, more, message):
    with pytest.raises(ValueError, match=message):
        find(arms, data, more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dot_product[parameters=shrd]", "did you mean 'shared'"),
        ("dot_product[parameters=shared[training.warmup=0.1]]", "options and model.KEY=value at most"),
        ("dot_product[parameters=dot_product[width=shared]]", "options and model.KEY=value at most"),
        ("dot_product[parameters=shared,width=shared]", "leave one out"),
        ("dot_product[positions=rotary]", "or write model.positions=rotary"),
        ("dot_product[max_steps=9]", "or write training.max_steps=9"),
    ],
)
def test_mistakes_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_variants(text)


def test_only_a_comparison_finds_sizes():
    with pytest.raises(ValueError, match="parameters= is for leanformer compare"):
        sized_variants("dot_product,dot_product[parameters=shared]")
    assert sized_variants("dot_product,shared") == parse_variants("dot_product,shared")


def test_every_control_says_what_it_controls_for(data):
    _, arms, _ = find(
        "dot_product[width=shared],shared[flops=dot_product],phased[phase_std=1]", data, "model.positions=rotary"
    )
    narrow, longer, plain = map(control, arms)
    assert narrow.startswith(f"width {arms[0].model['hidden_size']}") and "as many parameters as shared" in narrow
    assert "for as many FLOPs as dot_product" in longer and plain is None
    for arm in grid(rotary=True):
        assert (control(arm) is None) == ("[" not in arm.label), arm.label
    for setting, what in OPTIONS.items():
        name = {"coefficients_init": "pairwise", "scale_init": "shared"}.get(setting.partition("=")[0], "dot_product")
        value = {"kv_heads": "=1"}.get(setting, "")
        (arm,) = parse_variants(f"{name}[{setting}{value}]")
        assert control(arm) == what


def test_a_recipe_is_no_control(tmp_path):
    recipe = tmp_path / "rotary.toml"
    recipe.write_text('[model]\npositions = "rotary"\nnorm = "pre"\n', encoding="utf-8")
    (arm,) = parse_variants(f"dot_product[config={recipe}]")
    assert arm.model["positions"] == "rotary"
    assert control(arm) is None
