import numpy as np
import pytest
from scipy import stats

from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.numbers.statistics import holm
from leanformer.reporting.records.study import read_study


def tokens(findings, fraction=0.95):
    return [r for r in findings.ratios if (r.resource, r.target.fraction) == ("tokens", fraction)]


def test_differences_are_mechanism_minus_baseline_by_seed(fabricate):
    study = read_study(fabricate(seeds=(1, 2, 3, 4, 5)))
    ours = [run.final_loss for run in study.at("pairwise")]
    theirs = [run.final_loss for run in study.at("dot_product")]
    (c,) = [c for c in find(study).of("final_loss") if c.attention == "pairwise"]
    assert c.seeds == (1, 2, 3, 4, 5)
    assert c.difference.mean == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert c.difference.p_value == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_final_loss_is_a_family_of_all_mechanisms(fabricate):
    family = sorted(find(read_study(fabricate())).of("final_loss"), key=lambda c: c.difference.p_value)
    assert len(family) == 3
    assert family[0].difference.p_value_holm == pytest.approx(min(1, 3 * family[0].difference.p_value))


def test_tasks_are_one_family_of_all_mechanisms_tasks_and_the_average(fabricate):
    findings = find(read_study(fabricate(tasks={"sst2": 0.8, "cola": 0.3})))
    tasks = [c.difference for metric in ("sst2", "cola", "task_average") for c in findings.of(metric)]
    least = min(tasks, key=lambda d: d.p_value)
    assert least.p_value_holm == pytest.approx(min(1, 9 * least.p_value))
    assert [d.p_value_holm for d in tasks] == pytest.approx(holm([d.p_value for d in tasks]))
    assert [d.p_equivalence_holm for d in tasks] == pytest.approx(holm([d.p_equivalence for d in tasks]))
    assert {d.margin for d in tasks} == {0.01}


def test_main_contrasts_are_a_family_and_the_others_are_exploratory(fabricate, edit):
    directory = fabricate()
    edit(directory / "comparison.json", lambda plan: plan.update(main=["pairwise"], margin=0.05))
    by_name = {c.attention: c for c in find(read_study(directory)).of("final_loss")}
    assert {name: c.exploratory for name, c in by_name.items()} == {
        "symmetric": True,
        "pairwise": False,
        "shared": True,
    }
    assert by_name["pairwise"].difference.p_value_holm == by_name["pairwise"].difference.p_value
    others = [by_name[name].difference for name in ("symmetric", "shared")]
    assert [d.p_value_holm for d in others] == holm([d.p_value for d in others])
    assert {c.difference.margin for c in by_name.values()} == {0.05}
    assert by_name["shared"].shown_verdict == "worse, exploratory"


def test_true_effects_are_found_and_their_direction_is_right(fabricate):
    verdicts = {c.attention: c.verdict for c in find(read_study(fabricate(noise=0.002))).of("final_loss")}
    assert verdicts["pairwise"] == "better"
    assert verdicts["shared"] == "worse"


def test_a_failed_run_leaves_its_pair_out_and_no_other(fabricate, edit):
    directory = fabricate()
    edit(directory / "runs/symmetric/seed-4/run.json", lambda r: r.update(status="failed", error="disk full"))
    by_name = {c.attention: c for c in find(read_study(directory)).of("final_loss")}
    assert by_name["symmetric"].seeds == (1, 2, 3, 5) and by_name["symmetric"].planned == 5
    assert by_name["pairwise"].difference.n == 5


def test_identical_runs_are_not_tested(fabricate):
    findings = find(read_study(fabricate(effects={"dot_product": 0.0, "copy": 0.0}, noise=0.0)))
    (c,) = findings.of("final_loss")
    assert (c.difference.mean, c.difference.p_value_holm, c.verdict) == (0.0, None, "not tested")
    assert findings.detectable is None


def test_tokens_to_target_by_hand(fabricate, edit):
    """Floor 3, baseline ends at 2: the target is 2.05. From 3 to 2 in 1,000 tokens: 950; in 500: 475."""
    directory = fabricate(effects={"dot_product": 0.0, "quick": 0.0}, seeds=(1, 2))
    for seed in (1, 2):
        for name, points in (("dot_product", [[0, 3.0], [1000, 2.0]]), ("quick", [[0, 3.0], [500, 2.0], [1000, 1.9]])):
            file = directory / f"runs/{name}/seed-{seed}/run.json"
            edit(file, lambda r: r["floor"].update(context_free=3.0))
            edit(file, lambda r, p=points: r["results"].update(final_loss=p[-1][1], validations=p))
    (ratio,) = tokens(find(read_study(directory)))
    assert ratio.target.loss == pytest.approx(2.05)
    np.testing.assert_allclose(ratio.costs, [[[475, 475], [950, 950]]] * 2)
    assert ratio.ratio == pytest.approx(0.5) and ratio.arrived == (2, 2) and ratio.verdict == "not tested"


def test_a_run_that_never_arrives_takes_ratio_and_p_value_away(fabricate):
    by_name = {ratio.attention: ratio for ratio in tokens(find(read_study(fabricate(noise=0.002))))}
    shared = by_name["shared"]
    assert (shared.arrived, shared.ratio, shared.log.p_value, shared.verdict) == ((0, 5), None, None, "censored")
    assert by_name["pairwise"].verdict == "better" and by_name["pairwise"].log.p_value_holm is not None


def test_a_task_counts_each_pre_training_seed_once(fabricate, edit):
    directory = fabricate(effects={"dot_product": 0.0, "other": 0.0}, seeds=(1, 2), tasks={"rte": 0.5}, task_seeds=2)
    scores = {
        ("dot_product", 1): (0.5, 0.6),
        ("dot_product", 2): (0.5, 0.5),
        ("other", 1): (0.7, 0.6),
        ("other", 2): (0.5, 0.4),
    }
    for (name, seed), values in scores.items():
        for k, value in enumerate(values, start=1):
            file = directory / f"runs/{name}/seed-{seed}/tasks/rte/seed-{k}/run.json"
            edit(file, lambda r, v=value: r["results"].update(score=v))
    (c,) = find(read_study(directory)).of("rte")
    assert c.values == (pytest.approx((0.65, 0.55)), pytest.approx((0.45, 0.5)))
    assert (c.difference.n, c.difference.mean) == (2, pytest.approx(0.025))


def test_only_fine_tunings_that_both_sides_have_are_paired(fabricate):
    directory = fabricate(effects={"dot_product": 0.0, "other": 0.0}, seeds=(1, 2), tasks={"rte": 0.5}, task_seeds=2)
    whole = find(read_study(directory)).of("rte")[0].values
    (directory / "runs/other/seed-1/tasks/rte/seed-2/run.json").unlink()
    cut = find(read_study(directory)).of("rte")[0].values
    assert cut[1] == whole[1]
    assert cut[0][1] != whole[0][1]  # the baseline's second fine-tuning is left out too


def test_the_average_is_over_all_tasks_or_not_at_all(fabricate):
    directory = fabricate(effects={"dot_product": 0.0, "other": 0.0}, seeds=(1, 2), tasks={"rte": 0.5, "cola": 0.1})
    findings = find(read_study(directory))
    (average,) = findings.of("task_average")
    expected = np.mean([findings.of(task)[0].values for task in ("rte", "cola")], axis=0)
    np.testing.assert_allclose(average.values, expected)
    for k in (1, 2, 3):
        (directory / f"runs/other/seed-1/tasks/cola/seed-{k}/run.json").unlink()
    assert find(read_study(directory)).of("task_average")[0].seeds == (2,)


def test_without_a_finished_baseline_nothing_is_compared(fabricate):
    directory = fabricate(seeds=(1, 2))
    for seed in (1, 2):
        (directory / f"runs/dot_product/seed-{seed}/run.json").unlink()
    findings = find(read_study(directory))
    assert {c.difference.n for c in findings.comparisons} == {0}
    assert findings.ratios == ()
