"""Measured values and verdicts of made-up studies, against what was put into them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from leanformer.reporting.records import sweep
from leanformer.reporting.records.runs import FineTuning, Run
from leanformer.reporting.records.study import Study
from leanformer.reproduction.metrics import Measured, Measurements, measure
from leanformer.reproduction.published import Row, Table, Value, read_paper
from leanformer.reproduction.verdict import size, verdict

FLOOR = 3.0
LOSS = Table("t", "final_loss", "nats", "lower", "s", "made")
STEPS = Table("t", "steps_to_target", "steps", "lower", "s", "made", effect="ratio")


def row(own=1.0, baseline=2.0, **key):
    return Row("r", "dot_product", {"dot_product": Value(baseline), "shared": Value(own)}, {}, key)


def run(name, seed, losses):
    """A validation every 100 steps of 10 tokens."""
    results = {"final_loss": losses[-1], "tokens": 1000 * len(losses), "steps": 100 * len(losses), "seconds": 1.0}
    record = {"results": results, "floor": {"context_free": FLOOR}, "ledger": {"flops_per_token": {"training": 7.0}}}
    curve = tuple((1000.0 * (i + 1), loss) for i, loss in enumerate(losses))
    return Run(name, seed, 1e-3, f"{name}-{seed}", "finished", record=record, curve=curve)


def measurements(curves):
    runs = tuple(run(name, seed, losses) for name, of in curves.items() for seed, losses in enumerate(of, 1))
    chosen = {name: sweep.rates(runs, name) for name in curves}
    study = Study(Path("made"), {}, tuple(curves), "dot_product", runs, chosen, ())
    return Measurements(comparisons={"made": study})


def test_a_loss():
    """Differences -0.5, -0.6, -0.4: mean -0.5, t = -0.5 / (0.1 / sqrt(3)) = -8.66, p = 0.013."""
    made = measurements({"dot_product": [[2.9, 2.0]] * 3, "shared": [[2.8, 1.5], [2.8, 1.4], [2.8, 1.6]]})
    found = measure(LOSS, row(), "shared", made)
    assert found.effect == pytest.approx(-0.5)
    assert found.ci95 == pytest.approx((-0.5 - 4.303 * 0.1 / math.sqrt(3), -0.5 + 4.303 * 0.1 / math.sqrt(3)), abs=1e-3)
    assert (found.own.mean, found.baseline.mean) == pytest.approx((1.5, 2.0))
    assert (found.verdict, found.seeds) == ("better", (1, 2, 3))
    assert verdict(LOSS, row(), "shared", found) == "reproduced"
    assert size(LOSS, row(), "shared", found) == "in direction; the size differs"
    assert size(LOSS, row(own=1.5), "shared", found) == ""
    assert verdict(LOSS, row(own=2.5), "shared", found) == "contradicted"


def test_a_perplexity_is_a_ratio():
    made = measurements({"dot_product": [[2.9, 2.0]] * 3, "shared": [[2.8, 1.5], [2.8, 1.4], [2.8, 1.6]]})
    table = Table("t", "perplexity", "perplexity", "lower", "s", "made", effect="ratio")
    found = measure(table, row(), "shared", made)
    assert found.effect == pytest.approx(math.exp(-0.5))
    assert found.own.mean == pytest.approx((math.exp(1.5) + math.exp(1.4) + math.exp(1.6)) / 3)
    assert found.ci95[0] < found.effect < found.ci95[1] < 1


def test_a_model_on_the_floor_says_nothing():
    made = measurements({"dot_product": [[2.9, 2.0], [2.9, 2.1]], "shared": [[3.0, 2.99], [3.0, 2.99]]})
    found = measure(LOSS, row(), "shared", made)
    assert found.verdict is None and "learned nothing from context" in found.note
    assert verdict(LOSS, row(), "shared", found) == "not testable here"


def test_steps_to_a_target():
    """The target, 95 % of the way from 3 to 2, is 2.05: crossed after 290 and 190 steps, 285 and 190."""
    slow, fast = [3.0, 2.5, 2.0], [2.9, 1.955, 1.955]
    made = measurements({"dot_product": [slow, slow], "shared": [fast, fast]})
    found = measure(STEPS, row(), "shared", made)
    assert (found.own.mean, found.baseline.mean) == pytest.approx((100 + 100 * 0.85 / 0.945, 290))
    assert found.effect == pytest.approx((100 + 100 * 0.85 / 0.945) / 290)
    half = measure(STEPS, row(fraction=0.5), "shared", made)
    assert (half.own.mean, half.baseline.mean) == pytest.approx((100 + 100 * 0.4 / 0.945, 200))


@pytest.mark.parametrize(("seeds", "said"), [(5, "undecided"), (6, "worse")])
def test_runs_that_never_arrive_are_judged_by_their_signs(seeds, said):
    """Six pairs of six on one side: p = 2 / 64; five of five: 2 / 32."""
    made = measurements({"dot_product": [[2.9, 2.0, 2.0]] * seeds, "shared": [[3.0, 2.9, 2.8]] * seeds})
    found = measure(STEPS, row(), "shared", made)
    assert found.verdict == said
    assert f"0 of {seeds} runs of shared, {seeds} of {seeds} runs of dot_product arrive, ratio above 1.5" in found.note


def test_a_pair_of_which_neither_arrives_cannot_be_judged():
    target_is_never_met = {"dot_product": [[2.9, 2.0]] * 5 + [[3.0, 2.8]], "shared": [[3.0, 2.9]] * 6}
    assert measure(STEPS, row(), "shared", measurements(target_is_never_met)).verdict is None


def test_one_pair_or_none_is_not_testable():
    single = measurements({"dot_product": [[2.9, 2.0, 2.0]], "shared": [[3.0, 2.0, 1.99]]})
    for table in (LOSS, STEPS):
        found = measure(table, row(), "shared", single)
        assert (found.verdict, verdict(table, row(), "shared", found)) == (None, "not testable here")
        assert "a single pair has no spread" in found.note
    never = measurements({"dot_product": [[2.9, 2.0, 2.0]], "shared": [[3.0, 2.9, 2.8]]})
    assert measure(STEPS, row(), "shared", never).verdict is None


def test_what_is_not_there_is_said():
    made = measurements({"dot_product": [[2.9, 2.0]] * 2})
    assert measure(LOSS, row(), "shared", made).note == "shared is not in the study at this scale"
    other = Table("t", "final_loss", "nats", "lower", "s", "other")
    assert measure(other, row(), "shared", Measurements(missing={"other": "needs --text"})).note == "needs --text"
    assert measure(other, row(), "shared", made).note == "no such study at this scale"


def test_a_race():
    raced = {"size": "mini", "length": 128, "training": {"seconds": {"median": 0.5}, "speed": None}}
    own = {**raced, "attention": "shared", "training": {"seconds": {"median": 0.4}}}
    own["training"]["speed"] = {"median": 1.25, "low": 1.1, "high": 1.6}
    made = Measurements(races={"speed": {"rows": [{**raced, "attention": "dot_product"}, own]}})
    table = Table("t", "speed", "s", "lower", "s", "speed", effect="percent")
    found = measure(table, row(), "shared", made)
    assert (found.effect, found.ci95) == (pytest.approx(-20), pytest.approx((100 / 1.6 - 100, 100 / 1.1 - 100)))
    assert found.verdict == "better"
    own["training"]["speed"]["low"] = 0.99
    assert measure(table, row(), "shared", made).verdict == "undecided"


def test_counts_are_held_to_the_published_digits():
    """12 x 1,178,880 / 109,514,298 = 12.92 %, published as 12.94 %; 66.5366 % is published cut off, as 66.53 %."""
    counts = read_paper("shared").tables[0]
    found = [measure(counts, of, "shared", Measurements()) for of in counts.rows]
    assert [f.effect for f in found] == pytest.approx([-66.5366, -12.9176], abs=1e-4)
    said = [verdict(counts, of, "shared", f) for of, f in zip(counts.rows, found, strict=True)]
    assert said == ["reproduced", "contradicted"]


@pytest.mark.parametrize(
    ("own", "measured", "expected"),
    [
        (1.0, "better", "reproduced"),
        (1.0, "worse", "contradicted"),
        (1.0, "undecided", "undecided"),
        (3.0, "worse", "reproduced"),
        (3.0, "better", "contradicted"),
        (2.0, "better", "contradicted"),
        (2.0, "undecided", "undecided"),
        (1.0, None, "not testable here"),
    ],
)
def test_verdicts(own, measured, expected):
    assert verdict(LOSS, row(own), "shared", Measured(verdict=measured)) == expected


@pytest.mark.parametrize(
    ("own", "ci95", "expected"),
    [
        (2.0, (-0.1, 0.1), "reproduced"),  # no difference is published, and none is measured
        (1.0, (-0.1, 0.1), "contradicted"),  # -1 is published, which the interval excludes
        (1.98, (-0.1, 0.1), "undecided"),  # -0.02 is published, and the interval holds it
        (3.0, (-0.1, 0.1), "contradicted"),
    ],
)
def test_equivalence_contradicts_a_size_that_the_interval_excludes(own, ci95, expected):
    assert verdict(LOSS, row(own), "shared", Measured(verdict="equivalent", ci95=ci95)) == expected


@pytest.mark.parametrize(("runs", "expected"), [(5, "not testable here"), (20, "reproduced")])
def test_a_difference_within_the_papers_own_noise_is_no_claim(runs, expected):
    """GLUE 79.36 ± 0.37 against 78.74 ± 0.63: Welch's t is 1.90 of five runs each, p 0.10, and 3.79 of twenty."""
    told = Row("r", "dot_product", {"dot_product": Value(78.74, 0.63), "shared": Value(79.36, 0.37)}, {}, {})
    table = Table("t", "score", "score x 100", "higher", "s", "made", runs=runs)
    assert verdict(table, told, "shared", Measured(verdict="better")) == expected


@pytest.mark.parametrize(
    ("scores", "expected"), [((0.61, 0.59, 0.60), "not testable here"), ((0.9, 0.91, 0.92), "reproduced")]
)
def test_a_task_at_chance_is_not_testable(scores, expected):
    """Chance is 0.6, the baseline scores about that."""

    def tuned(of, score):
        results = {"score": score, "chance": 0.6, "metrics": {"accuracy": score}, "examples": 100}
        tuning = FineTuning("rte", 1, "t", "finished", score=score, record={"results": results})
        return replace(of, finetunings=(tuning,))

    levels = {"dot_product": (0.6, 0.59, 0.61), "shared": scores}
    every = tuple(
        tuned(run(name, seed, [2.9, 2.0]), score) for name, of in levels.items() for seed, score in enumerate(of, 1)
    )
    study = Study(Path("made"), {}, tuple(levels), "dot_product", every, {n: sweep.rates(every, n) for n in levels}, ())
    table = Table("t", "score", "score x 100", "higher", "s", "made")
    told = Row("r", "dot_product", {}, {"shared": "better"}, {"task": "rte"})
    found = measure(table, told, "shared", Measurements(comparisons={"made": study}))
    assert verdict(table, told, "shared", found) == expected
    assert ("neither shared nor dot_product is above chance (60.0)" in found.note) is (expected == "not testable here")
