"""Aliases of arms, and the arm that is the baseline: how they are written, recorded and kept."""

import json

import pytest

from leanformer.comparison.compare import _baseline, _main
from leanformer.comparison.continuing import check_continues
from leanformer.comparison.controls import control
from leanformer.comparison.variants import label_of, labels_of, parse_variants
from leanformer.comparison.written_plan import check_amends, write_plan

SMALL = "dot_product[model.hidden_size=64,projection=shared_all]"


def test_an_alias_is_the_label_and_the_arm_its_definition():
    plain, small = parse_variants(f"pairwise, small = {SMALL}")
    assert (plain.label, plain.definition) == ("pairwise", "pairwise")
    assert (small.label, small.definition, small.mechanism) == ("small", SMALL, "dot_product")
    assert (small.model, small.options) == ({"hidden_size": 64}, {"projection": "shared_all"})


def test_later_brackets_may_use_it():
    small, cheap = parse_variants("small=dot_product[model.hidden_size=64],cheap=shared[flops=small]")
    assert cheap.match == {"flops": small}
    assert "as many FLOPs as small" in control(cheap)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"pairwise={SMALL}", "pairwise is a mechanism; give another alias"),
        ("a=shared,a=pairwise", "--attention names a twice"),
        ("a=shared,b=shared", "has one arm twice, as a and as b: leave one out"),
        ("shared,b=shared[]", "has one arm twice, as shared and as b"),
        ("a b=shared", "make the alias of letters, digits"),
        ("../a=shared", "make the alias of letters, digits"),
        ("a+b=shared", "make the alias of letters, digits"),
        ("=shared", "make the alias of letters, digits"),
        ("a=sharde", "did you mean 'shared'"),
    ],
)
def test_mistakes_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_variants(text)


def test_options_name_arms_by_alias_or_as_they_are_written():
    variants = parse_variants(f"dot_product,small={SMALL},pairwise[coefficients_init=identity]")
    assert labels_of("small,pairwise[coefficients_init=identity]", variants) == [
        "small",
        "pairwise[coefficients_init=identity]",
    ]
    assert label_of("dot_product", variants) == "dot_product"
    with pytest.raises(ValueError, match="unknown attention mechanism 'smal'"):
        label_of("smal", variants)


def test_records_and_folders_have_the_alias(make_plan):
    made = make_plan(f"dot_product,small={SMALL}", seeds=[1])
    record = made.record()
    assert record["attention"] == ["dot_product", "small"] and record["aliases"] == {"small": SMALL}
    assert [run["path"] for run in record["runs"]] == ["runs/dot_product/seed-1", "runs/small/seed-1"]
    assert made.runs[1].settings(made.settings).model["hidden_size"] == 64


def test_the_written_plan_says_what_an_alias_is(tmp_path, make_plan):
    write_plan(tmp_path, make_plan("dot_product,a=shared"), {}, begun=False)
    write_plan(tmp_path, make_plan("dot_product,a=shared,b=pairwise"), {}, begun=True)
    record = json.loads((tmp_path / "plan.json").read_text())
    assert record["aliases"] == {"a": "shared"}
    assert [entry["aliases"] for entry in record["amendments"]] == [{"b": "pairwise"}]


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ("dot_product,b=shared", "shared has the name a in .*, not b: repeat its name, or give another --out"),
        ("dot_product,shared", "shared has the name a in .*, not shared: repeat its name"),
        ("dot_product,a=pairwise", "a is shared in .*, not pairwise: give another alias"),
        ("d=dot_product,a=shared", "dot_product has the name dot_product in .*, not d"),
    ],
)
def test_an_arm_keeps_its_name_and_a_name_its_arm(tmp_path, make_plan, later, message):
    (tmp_path / "comparison.json").write_text(json.dumps(make_plan("dot_product,a=shared").record()))
    check_continues(tmp_path, make_plan("dot_product,a=shared,b=pairwise", seeds=[1, 2, 3]), resume=True)
    with pytest.raises(ValueError, match=message):
        check_continues(tmp_path, make_plan(later), resume=True)


def test_any_arm_may_be_the_baseline_and_then_is_no_contrast():
    variants = parse_variants("dot_product,a=shared,pairwise")
    assert (_baseline(variants, "a"), _baseline(variants, None)) == ("a", None)
    with pytest.raises(ValueError, match="--baseline shared: no such arm; known: dot_product, a, pairwise"):
        _baseline(variants, "shared")
    assert _main(variants, ["dot_product"], "a") == ["dot_product"]
    with pytest.raises(ValueError, match="--main a is the baseline"):
        _main(variants, ["a"], "a")


def test_the_baseline_is_planned_and_stays(tmp_path, make_plan):
    made = make_plan("dot_product,shared", named_baseline="shared")
    assert made.record()["baseline"] == "shared" and make_plan().record()["baseline"] == "dot_product"
    write_plan(tmp_path, made, {}, begun=False)
    check_amends(tmp_path, made, finished=True)
    with pytest.raises(ValueError, match="says baseline = 'shared', this command 'dot_product'"):
        check_amends(tmp_path, make_plan("dot_product,shared"), finished=True)


def test_a_comparison_with_aliases_goes_on_with_more_arms_and_seeds(data, tiny, tmp_path, executor, command):
    """Finished runs stay as they are; the report has the aliases, and the baseline that was asked for."""
    ran, out = executor(), tmp_path / "out"
    common = ("compare", "--data", data, "--out", out, "--jobs", "1", "--quiet", "--baseline", "tied", *tiny)
    assert command(*common, "--attention", "dot_product,tied=symmetric", "--seeds", "1")[0] == 0
    first = [*ran]
    assert first == ["runs/dot_product/seed-1", "runs/tied/seed-1"]
    arms = "dot_product,tied=symmetric,all=shared"
    assert command(*common, "--attention", arms, "--seeds", "2", "--main", "all", "--resume")[0] == 2, "another plan"
    assert command(*common, "--attention", arms, "--seeds", "2", "--resume")[0] == 0
    assert set(ran) - set(first) == {f"runs/{run}" for run in ("all/seed-1", "all/seed-2", *_second(first))}
    assert len(ran) == 6
    found = json.loads((out / "results.json").read_text())
    assert (found["baseline"], found["aliases"]) == ("tied", {"tied": "symmetric", "all": "shared"})
    assert {c["attention"] for c in found["comparisons"]} == {"dot_product", "all"}
    assert not any(c["exploratory"] for c in found["comparisons"])


def _second(first):
    return [path.removeprefix("runs/").replace("seed-1", "seed-2") for path in first]
