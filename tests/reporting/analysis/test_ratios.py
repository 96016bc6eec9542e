import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.comparison.caveats import caveats
from leanformer.reporting.numbers.statistics import holm, paired_difference
from leanformer.reporting.numbers.target import Descent
from leanformer.reporting.records.schedules import schedule_notes
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report

CURVE = [(100, 3.0), (200, 2.0), (300, 1.0)]


@pytest.mark.parametrize(
    ("loss", "between"),
    [(2.5, (150, 150)), (1.0, (300, 300)), (3.0, (0, 100)), (5.0, (0, 100)), (0.9, (300, math.inf))],
)
def test_an_arrival_lies_between_two_numbers(loss, between):
    assert Descent(CURVE).arrival(loss) == pytest.approx(between)


def test_without_a_curve_nothing_is_known():
    assert Descent([]).arrival(1.0) == (0, math.inf)


@pytest.fixture
def straight(fabricate, edit):
    """`straight(quick=(500, 400))`: runs that go straight from the floor, 3 nats, to 2 in so many tokens by seed, 1,000
    the baseline's, and stay there; None: a run that ends, after 1,000 tokens, at 2.5."""

    def make(log=False, **mechanisms):
        mechanisms = {"dot_product": (1000, 1000), **mechanisms}
        seeds = tuple(range(1, 1 + max(map(len, mechanisms.values()))))
        directory = fabricate(effects=dict.fromkeys(mechanisms, 0.0), seeds=seeds)
        for name, ends in mechanisms.items():
            for seed, end in enumerate(ends, start=1):
                points = [[0, 3.0], [1000, 2.5]] if end is None else [[0, 3.0], [end, 2.0], [1000, 2.0]]
                folder = directory / f"runs/{name}/seed-{seed}"

                def straighten(record, points=points, flops=10 if name == "dot_product" else 5):
                    record["floor"]["context_free"] = 3.0
                    record["ledger"]["flops_per_token"]["training"] = flops
                    spent = {"tokens": 1000, "steps": 100, "seconds": 50.0}
                    record["results"] |= {"final_loss": points[-1][1], "validations": points, **spent}

                edit(folder / "run.json", straighten)
                if log:  # the first half of the tokens takes 30 of the 100 steps and 20 of the 50 seconds
                    lines = [{"tokens": t, "step": s, "seconds": c} for t, s, c in [(500, 30, 20.0), (1000, 100, 50.0)]]
                    (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return directory

    return make


def ratios(directory, fraction=0.9):
    found = find(read_study(directory)).ratios
    return {r.resource: r for r in found if r.target.fraction == fraction}


def test_ratios_by_hand(straight):
    """The target, 2.1, is reached at nine tenths of the way: 450 and 180 tokens against 900."""
    of = ratios(straight(quick=(500, 200)))
    tokens = of["tokens"]
    np.testing.assert_allclose(tokens.costs, [[[450, 450], [900, 900]], [[180, 180], [900, 900]]])
    assert tokens.ratio == pytest.approx(math.sqrt(0.5 * 0.2))
    assert tokens.bounds == pytest.approx((tokens.ratio, tokens.ratio))
    assert of["flops"].ratio == pytest.approx(tokens.ratio / 2)
    assert of["steps"].ratio == pytest.approx(tokens.ratio)
    assert of["steps"].costs[0] == (pytest.approx((45, 45)), pytest.approx((90, 90)))
    assert of["seconds"].costs[0] == (pytest.approx((22.5, 22.5)), pytest.approx((45, 45)))


def test_the_interval_is_that_of_the_mean_log_ratio(straight):
    r = ratios(straight(dot_product=(1000,) * 4, quick=(500, 400, 700, 550)))["tokens"]
    logs = np.log([0.5, 0.4, 0.7, 0.55])
    expected = stats.ttest_1samp(logs, 0)
    interval = expected.confidence_interval(0.95)
    assert r.ratio == pytest.approx(np.exp(logs.mean()))
    assert r.ci95 == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert r.log.p_value == pytest.approx(expected.pvalue)


def test_steps_and_seconds_are_read_off_the_runs_own_log(straight):
    """900 tokens lie at four fifths of the second half: 30 + 0.8 x 70 = 86 steps, 20 + 0.8 x 30 = 44 s."""
    of = ratios(straight(log=True, quick=(500, 500)))
    assert of["steps"].costs[0] == (pytest.approx((27, 27)), pytest.approx((86, 86)))
    assert of["seconds"].costs[0] == (pytest.approx((18, 18)), pytest.approx((44, 44)))


def test_a_run_that_never_arrives_makes_a_bound(straight):
    """Its ratio is above 1000 / 900, the other's is 450 / 900: the mean is above the root of their product."""
    r = ratios(straight(slow=(500, None)))["tokens"]
    assert r.bounds == (pytest.approx(math.sqrt(0.5 / 0.9)), math.inf)
    assert (r.arrived, r.ratio, r.ci95, r.log.p_value) == ((1, 2), None, None, None)


def test_a_baseline_that_never_arrives_makes_an_upper_bound(straight):
    """The baseline ends at 2 and at 2.5, 2.25 on average, so the target is 2.325."""
    r = ratios(straight(dot_product=(1000, None), quick=(500, 500)))["tokens"]
    at = 500 * 0.675
    assert r.bounds == (0.0, pytest.approx(math.sqrt((at / 675) * (at / 1000))))
    assert r.arrived == (2, 1)


def test_where_both_fail_nothing_is_known(straight):
    r = ratios(straight(dot_product=(1000, 1000, None), slow=(None, 1000, 1000)), 0.99)["tokens"]
    assert r.bounds == (0.0, math.inf)


def test_all_mechanisms_targets_and_resources_are_one_family_and_the_same_ratio_counts_once(straight):
    """Tokens, steps and seconds go hand in hand here and FLOPs are half as many in every run, so ratios differ by a
    constant: tokens, steps and seconds are one test, FLOPs another, for each of two mechanisms and three targets."""
    family = find(
        read_study(straight(dot_product=(1000,) * 4, quick=(500, 480, 530, 510), slow=(990, 980, 1000, 970)))
    ).ratios
    assert len(family) == 2 * 3 * 4
    own = [r.log.p_value for r in family if r.resource in ("tokens", "flops")]
    assert {r.log.family for r in family} == {len(own)} == {12}
    expected = dict(
        zip(
            [(r.attention, r.target, r.resource) for r in family if r.resource in ("tokens", "flops")],
            holm(own),
            strict=True,
        )
    )
    for r in family:
        resource = "flops" if r.resource == "flops" else "tokens"
        assert r.log.p_value_holm == pytest.approx(expected[r.attention, r.target, resource])
    assert {r.verdict for r in family if (r.attention, r.resource) == ("quick", "tokens")} == {"better"}


def test_a_picture_has_no_tests(straight):
    curve = find(read_study(straight(dot_product=(1000,) * 3, quick=(500, 400, 700)))).ratio_curve
    assert curve and not any(r.log.p_value_holm for r in curve)


def test_the_interval_covers():
    """Of the mean log ratio, 95 % of 2,000 simulated studies of four pairs, within three standard errors (1.5 %)."""
    logs = np.random.default_rng(5).normal(math.log(0.7), 0.2, (2000, 4))
    inside = [ci[0] <= math.log(0.7) <= ci[1] for row in logs if (ci := paired_difference(list(row)).ci95)]
    assert len(inside) == 2000 and np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_the_picture_shows_ratio_and_bounds(straight):
    directory = straight(quick=(500, 400), slow=(None, None))
    found = write_report(directory)
    svg = (directory / "figures/targets.svg").read_text()
    ElementTree.fromstring(svg)
    for words in ("Tokens, and steps to target", "Training FLOPs", "Seconds", "validation loss to be reached (nats)"):
        assert words in svg
    assert "quick" in svg and "slow" in svg and "95 %" in svg
    page = (directory / "report.md").read_text().replace("\\", "")
    assert "| quick | 95 %: 2.050 nats | 2 of 2, 2 of 2 | 0.45 [" in page
    assert "| slow | 95 %: 2.050 nats | 0 of 2, 2 of 2 | > 1.05 | > 0.53 | > 1.05 | censored |" in page
    row = next(r for r in found["to_target"] if (r["attention"], r["resource"]) == ("slow", "tokens"))
    assert (row["arrived"], row["baseline_arrived"], row["ratio"], row["at_most"]) == (0, 2, None, None)
    section = page.partition("## What a target costs")[2].partition("## ")[0]
    assert "decays over this very budget (linear)" in section
    assert row["costs"][0] == {"exact": None, "more_than": 1000.0, "at_most": None}
    assert {r["resource"] for r in found["to_target_curve"]} == {"tokens", "steps", "flops", "seconds"}
    assert not any("p_value" in r or "verdict" in r for r in found["to_target_curve"])
    assert "quick needs" not in page and "it needs 0.45 times dot_product's tokens, 95 % CI" in page


def test_a_target_reached_at_the_first_validation_is_not_drawn(straight, edit):
    directory = straight(quick=(500, 400))
    file = directory / "runs/quick/seed-1/run.json"
    edit(file, lambda r: r["results"].update(validations=[[100, 2.3], [500, 2.0], [1000, 2.0]]))
    findings = find(read_study(directory))
    assert findings.ratio_curve and max(r.target.loss for r in findings.ratio_curve) < 2.3


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("linear", "decays over this very budget (linear)"),
        ("warmup_stable_decay", "constant until the last 20 % of the budget"),
        ("constant", "constant after warm-up"),
    ],
)
def test_what_the_schedule_allows_to_say_is_said(fabricate, schedule, words):
    findings = find(read_study(fabricate(seeds=(1, 2), settings={"schedule": schedule, "decay": 0.2})))
    (note,) = schedule_notes(findings.study)
    assert words in note and ("Half the steps can be shown" in note) == (schedule != "constant")
    assert (note in caveats(findings)) == (schedule != "constant")


def test_schedules_of_single_arms_are_told_apart(fabricate, edit):
    directory = fabricate(seeds=(1, 2))
    for seed in (1, 2):
        file = directory / f"runs/shared/seed-{seed}/run.json"
        edit(file, lambda r: r["settings"]["training"].update(schedule="constant"))
    linear, constant = schedule_notes(read_study(directory))
    assert "constant after warm-up (shared)" in constant
    assert "(linear) (dot_product, symmetric and pairwise)" in linear
