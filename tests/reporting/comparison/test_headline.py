"""The headline: of few arms each verdict, of many their counts; and what it never leaves out."""

import pytest

from leanformer.reporting.write import write_report

MANY = {"dot_product": 0.0, "a": -0.05, "b": -0.09, "c": 0.2, "d": 0.3, "e": 0.004, "f": -0.004}


def headline(directory):
    return write_report(directory)["headline"]


def test_of_many_arms_the_verdicts_are_counted_and_the_best_is_named(fabricate):
    said = headline(fabricate(effects=MANY, noise=0.001))
    assert said.startswith("After 8.02 M tokens, 2 of 6 arms are better than dot_product, 2 worse and 2 equivalent")
    assert "within 0.03 nats (of these, 1 measurably better and 1 measurably worse); the best is b, by 0.0" in said


def test_of_three_each_is_named(fabricate):
    few = {name: MANY[name] for name in ("dot_product", "a", "c", "d")}
    said = headline(fabricate(effects=few, noise=0.001))
    assert "a is better than dot_product by 0.0" in said and "d is worse by 0." in said


def test_if_none_is_better_none_is_called_the_best(fabricate):
    worse = {"dot_product": 0.0, **{name: 0.1 for name in "abcd"}}
    said = headline(fabricate(effects=worse, noise=0.001))
    assert said == "After 8.02 M tokens, none of 4 arms is shown to be better than dot_product: 4 worse."


def test_main_contrasts_are_not_counted_with_exploratory_ones(fabricate, edit):
    directory = fabricate(effects=MANY, noise=0.001)
    edit(directory / "comparison.json", lambda plan: plan.update(main=["c"]))
    said = headline(directory)
    assert "c is worse than dot_product by 0." in said
    assert "2 of 5 exploratory arms are better than dot_product, 1 worse" in said
    assert "the best is b, by" in said


@pytest.mark.parametrize("blind", ["ab", "abcde"])
def test_runs_that_learned_nothing_are_never_passed_over(fabricate, blind):
    arms = MANY | dict.fromkeys(blind, 1.3)
    said = headline(fabricate(effects=arms, noise=0.001, seeds=(1, 2, 3)))
    many = len(blind) > 3
    whose, each = ("5 of 7 arms", "each of them") if many else ("a and b", "a and b")
    assert said.startswith(f"Comparing {whose} says nothing about attention: runs of {each} did not get below the")


def test_what_cannot_be_judged_has_its_reason(fabricate):
    said = headline(fabricate(effects=MANY, seeds=(1,)))
    assert said.startswith("6 arms cannot be judged against dot_product: a single pair has no spread")
