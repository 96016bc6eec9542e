"""Chance in a report: the bounds against scipy, and what is said of models that are no better."""

import json

import numpy as np
import pytest
from scipy import stats

from leanformer.reporting.analysis.chance import NO_BETTER, above_chance, chance, lower_bound
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report

TWO = {"dot_product": 0.0, "other": 0.0}
HALF = {"dot_product": [[0.51, 0.50], [0.48, 0.50], [0.51, 0.51]], "other": [[0.50, 0.52], [0.51, 0.47], [0.49, 0.50]]}
"""Three models of each mechanism, fine-tuned twice, around one half."""


@pytest.fixture
def scored(fabricate, edit):
    """`scored({"sst2": {name: [[score, ...], ...]}}, 0.5)`: scores by pre-training seed, then by fine-tuning seed."""

    def make(tasks, level=None):
        of = next(iter(tasks.values()))["dot_product"]
        seeds = range(1, len(of) + 1)
        directory = fabricate(effects=TWO, seeds=seeds, tasks=dict.fromkeys(tasks, 0.5), task_seeds=len(of[0]))
        for task, mechanisms in tasks.items():
            for name, models in mechanisms.items():
                for seed, scores in zip(seeds, models, strict=True):
                    for k, score in enumerate(scores, start=1):
                        told = {"score": score} | ({} if level is None else {"chance": level})
                        file = directory / f"runs/{name}/seed-{seed}/tasks/{task}/seed-{k}/run.json"
                        edit(file, lambda record, told=told: record["results"].update(told))
        return directory

    return make


def test_several_seeds_have_the_bound_of_t(scored):
    """scipy's one-sided interval of the three models' means."""
    models = [[0.62, 0.60], [0.55, 0.57], [0.59, 0.58]]
    study = read_study(scored({"sst2": {"dot_product": models, "other": HALF["other"]}}, 0.5))
    low = stats.ttest_1samp(np.mean(models, axis=1), 0.5, alternative="greater").confidence_interval(0.95).low
    assert lower_bound(study, "sst2", "dot_product") == pytest.approx(low)
    assert above_chance(study, "sst2", "dot_product") is True
    assert above_chance(study, "sst2", "other") is False


@pytest.mark.parametrize("right", [436, 460, 461, 700])
def test_one_seed_has_the_exact_bound_of_its_examples(scored, right):
    """Clopper and Pearson's is a quantile of beta, and lies above chance where the binomial test rejects it."""
    study = read_study(scored({"sst2": {name: [[right / 872]] for name in TWO}}, 0.5))
    assert lower_bound(study, "sst2", "other") == pytest.approx(stats.beta.ppf(0.05, right, 872 - right + 1))
    rejected = stats.binomtest(right, 872, 0.5, alternative="greater").pvalue < 0.05
    assert above_chance(study, "sst2", "other") is bool(rejected)


def test_one_seed_of_another_score_has_no_bound(scored):
    study = read_study(scored({"cola": {name: [[0.3]] for name in TWO}}, 0.0))
    assert lower_bound(study, "cola", "other") is None and above_chance(study, "cola", "other") is None


def test_an_old_record_has_the_chance_of_its_labels(scored):
    """Of five examples three are of one class; and the Matthews correlation of one answer is 0."""
    directory = scored({"sst2": HALF, "cola": HALF})
    assert chance(read_study(directory), "sst2") is None
    lines = [{"split": "validation", "index": i, "label": y, "prediction": y} for i, y in enumerate([0, 1, 1, 0, 1])]
    for task in ("sst2", "cola"):
        file = directory / f"runs/dot_product/seed-1/tasks/{task}/seed-1/predictions.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    study = read_study(directory)
    assert (chance(study, "sst2"), chance(study, "cola")) == (pytest.approx(3 / 5), 0.0)


def test_models_that_all_answer_with_the_majority_class_are_not_above_it(scored):
    """0.1 + 0.2 is more than 0.3 by rounding alone."""
    study = read_study(scored({"sst2": {name: [[0.1 + 0.2]] * 3 for name in TWO}}, 0.3))
    assert above_chance(study, "sst2", "other") is False


def test_where_neither_is_above_chance_nothing_is_testable(scored):
    directory = scored({"sst2": HALF}, 0.5)
    (found,) = (c for c in write_report(directory)["comparisons"] if c["metric"] == "sst2")
    assert found["verdict"] == "not testable" and found["p_value_holm"] is None
    text = (directory / "report.md").read_text().replace("\\", "")
    assert f"{NO_BETTER.capitalize()} on sst2: dot_product and other." in text
    assert "Not testable, since neither the mechanism nor dot_product is above chance: other on sst2." in text
    row = next(line for line in text.splitlines() if line.startswith("| sst2 | 50.0 |"))
    assert row.count("†") == 2


def test_one_that_is_above_chance_is_compared_with_one_that_is_not(scored):
    directory = scored({"sst2": HALF | {"other": [[0.80, 0.81], [0.79, 0.80], [0.82, 0.80]]}}, 0.5)
    (found,) = (c for c in write_report(directory)["comparisons"] if c["metric"] == "sst2")
    assert found["verdict"] == "better"
    text = (directory / "report.md").read_text().replace("\\", "")
    assert f"{NO_BETTER.capitalize()} on sst2: dot_product." in text
    assert "Not testable, since" not in text


def test_what_is_not_testable_counts_in_no_family(scored):
    """The other task's p is corrected with the average's alone."""
    good = {"dot_product": [[0.80], [0.79], [0.81]], "other": [[0.85], [0.86], [0.84]]}
    half = {name: [scores[:1] for scores in of] for name, of in HALF.items()}
    found = write_report(scored({"sst2": half, "rte": good}, 0.5))["comparisons"]
    told = {c["metric"]: c for c in found if c["metric"] != "final_loss"}
    assert told["sst2"]["verdict"] == "not testable" and told["task_average"]["verdict"] != "not testable"
    p, average = told["rte"]["p_value"], told["task_average"]["p_value"]
    assert told["rte"]["p_value_holm"] == pytest.approx(2 * p if p < average else max(p, 2 * average))
