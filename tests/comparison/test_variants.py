"""What may stand in --attention."""

import pytest

from leanformer import recipes
from leanformer.attention import names
from leanformer.comparison.plan import PlannedRun
from leanformer.comparison.variants import grid, parse_variants
from leanformer.settings import read_settings


def test_names_and_options_are_read():
    one, two = parse_variants("dot_product, pairwise[coefficients_init=identity,projection=shared_all]")
    assert (one.label, one.mechanism, one.options) == ("dot_product", "dot_product", {})
    assert two.mechanism == "pairwise"
    assert two.options == {"coefficients_init": "identity", "projection": "shared_all"}


def test_mixtures_are_names_and_sizes_are_options():
    mixture, small = parse_variants("random+dot_product,dot_product[model.intermediate_size=640,projection=shared_all]")
    assert (mixture.label, mixture.mechanism) == ("random+dot_product",) * 2 and not mixture.options
    assert small.label == "dot_product[model.intermediate_size=640,projection=shared_all]"
    assert (small.options, small.model) == ({"projection": "shared_all"}, {"intermediate_size": 640})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shared[model.attention=pairwise]", "the mechanism is the name before the bracket"),
        ("shared[model.attention_options.a=1]", "neither an option of shared nor model.KEY=value"),
        ("shared[training.seed=3]", "seeds are the comparison's: --seeds"),
        ("shared[finetuning.epochs=3]", "neither an option of shared nor model.KEY=value"),
        ("shared[config=nowhere.toml]", "nowhere.toml"),
        ("", "names no mechanism"),
        ("pairwse", "did you mean 'pairwise'"),
        ("pairwise,pairwise", "names pairwise twice"),
        ("pairwise[coefficient_init=identity]", "did you mean 'coefficients_init'"),
        ("pairwise[identity]", "table.key=value"),
        ("pairwise[a=1", "write a mechanism as name"),
    ],
)
def test_mistakes_are_refused(text, message):
    with pytest.raises((ValueError, OSError), match=message):
        parse_variants(text)


def test_an_arm_may_have_a_mixer_with_options():
    text = "pairwise[model.mixer=convolution,model.mixer_options.kernel=5,model.mixer_options.head_ratio=3]"
    (variant,) = parse_variants(text)
    assert variant.model == {"mixer": "convolution", "mixer_options": {"kernel": 5, "head_ratio": 3}}


@pytest.mark.parametrize("key", ["table_rate", "lr_multipliers.position_tables"])
def test_an_arm_may_have_a_multiplier_of_its_own(key):
    """Beside the settings' other groups; the label, which old records have, stays as it was written."""
    (variant,) = parse_variants(f"random[training.{key}=100,init_std=0.1]")
    assert variant.label == f"random[training.{key}=100,init_std=0.1]"
    assert (variant.options, variant.training) == ({"init_std": 0.1}, {"lr_multipliers": {"position_tables": 100}})
    run = PlannedRun(variant=variant, seed=3, learning_rate=0.1, path="")
    common = read_settings(None, ["training.lr_multipliers.muon=4"])
    multipliers = {"muon": 4.0, "position_tables": 100.0}
    assert run.settings(common).training.lr_multipliers == multipliers
    assert (
        read_settings(None, [*run.overrides(), "training.lr_multipliers.muon=4"]).training.lr_multipliers == multipliers
    )


def test_an_arm_may_have_a_recipe_of_the_package():
    (variant,) = parse_variants("dot_product[recipe=bert,model.hidden_size=128]")
    bert = recipes.load("bert")
    assert variant.label == "dot_product[recipe=bert,model.hidden_size=128]"
    assert variant.model == bert["model"] | {"hidden_size": 128} and variant.training == bert["training"]
    with pytest.raises(ValueError, match="recipe 'brt': did you mean 'bert'"):
        parse_variants("dot_product[recipe=brt]")


def test_an_arm_may_have_a_recipe_of_its_own(tmp_path):
    file = tmp_path / "fast.toml"
    file.write_text('[model]\nnorm = "pre"\n[training]\nwarmup = 0.5\nmask_rate = 0.3\n')
    (arm,) = parse_variants(f"shared[config={file},training.warmup=0.1,scale_init=normal]")
    assert arm.label == "shared[config=fast,training.warmup=0.1,scale_init=normal]", "it names a folder"
    assert (arm.options, arm.model) == ({"scale_init": "normal"}, {"norm": "pre"})
    assert arm.training == {"warmup": 0.1, "mask_rate": 0.3}


@pytest.mark.parametrize(
    ("content", "message"),
    [("[training]\nseed = 3\n", "training.seed; seeds are"), ("[finetuning]\nepochs = 3\n", "has a table")],
)
def test_a_recipe_leaves_the_comparison_its_part(tmp_path, content, message):
    file = tmp_path / "fast.toml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        parse_variants(f"shared[config={file}]")


def test_the_grid_has_every_pair_once_and_published_names_where_they_exist():
    labels = [variant.label for variant in grid(rotary=True)]
    assert len(labels) == len(set(labels)) >= 10
    assert labels[0] == "dot_product"
    assert {name for name in names() if "+" not in name} <= set(labels)
    assert not [label for label in labels if "dense[" in label or "value_only" in label], "nothing there would learn"
    assert {"pairwise[projection=shared_all]", "phased[projection=separate]"} <= set(labels)
    without = [variant.label for variant in grid(rotary=False)]
    assert [label for label in labels if not label.startswith("phased")] == without


@pytest.mark.parametrize(
    "brackets",
    [
        "training.mask_rate=0.2,training.mask_rate=0.3",
        "training.mlm_probability=0.3,training.mask_rate=0.2",
        "training.table_rate=3,training.lr_multipliers.position_tables=4",
        "training.lr_multipliers=3,training.lr_multipliers.position_tables=3",
        "training.lr_multipliers.phases=3,training.lr_multipliers={position_tables=3}",
    ],
)
def test_a_setting_that_stands_twice_in_brackets_is_refused(brackets):
    with pytest.raises(ValueError, match="sets .* twice: leave one out"):
        parse_variants(f"random[{brackets}]")


@pytest.mark.parametrize(
    "arms",
    [
        "random[training.table_rate=3],random[training.lr_multipliers.position_tables=3]",
        "random[training.mask_rate=0.3],dot_product,random[training.mlm_probability=0.3]",
        "random[init_std=1,training.mask_rate=0.3],random[training.mask_rate=0.3,init_std=1]",
    ],
)
def test_an_arm_under_two_names_is_refused(arms):
    with pytest.raises(
        ValueError, match=r"--attention has one arm twice, as random\[.*\] and as random\[.*\]: leave one out"
    ):
        parse_variants(arms)
    assert (
        len(
            parse_variants(
                arms.replace("=3]", "=4]", 1).replace("0.3]", "0.4]", 1).replace("init_std=1]", "init_std=2]")
            )
        )
        > 1
    )
