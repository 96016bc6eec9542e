import json
import math

import numpy as np
import pytest
from scipy import stats

from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report

TWO = {"dot_product": 0.0, "other": 0.0}


@pytest.fixture
def answered(fabricate, edit):
    """`answered({"dot_product": {(1, 1): right, ...}, ...})`: one task; by mechanism, pre-training and task seed,
    which examples are answered right, or (labels, predictions), with the scores that follow."""

    def make(answers, metric="accuracy", score=None):
        seeds, task_seeds = ({key[i] for key in answers["dot_product"]} for i in (0, 1))
        directory = fabricate(effects=TWO, seeds=sorted(seeds), tasks={"task": 0.5}, task_seeds=len(task_seeds))
        for name, of in answers.items():
            for (seed, task_seed), given in of.items():
                labels, predictions = given if isinstance(given, tuple) else half_and_half(given)
                folder = directory / f"runs/{name}/seed-{seed}/tasks/task/seed-{task_seed}"
                lines = [
                    {"split": "validation", "index": i, "label": y, "prediction": p, "scores": []}
                    for i, (y, p) in enumerate(zip(labels.tolist(), predictions.tolist(), strict=True))
                ]
                (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
                value = float((score or (lambda y, p: (y == p).mean()))(labels, predictions))
                edit(folder / "run.json", lambda r, v=value: r["results"].update(score=v, metrics={metric: v}))
        return directory

    return make


def half_and_half(right):
    """(labels, predictions): labels alternate, so that chance is one half; `right` says which answers are right."""
    labels = np.arange(len(right)) % 2
    return labels, np.where(right, labels, 1 - labels)


def only_test(directory):
    (found,) = find(read_study(directory)).examples
    return found


def counts(both, only, only_baseline, neither):
    ours = [1] * both + [1] * only + [0] * only_baseline + [0] * neither
    theirs = [1] * both + [0] * only + [1] * only_baseline + [0] * neither
    return np.array(ours), np.array(theirs)


def test_mcnemar_by_hand(answered):
    """9 to 2 of 11: p = 2 (C(11,0) + C(11,1) + C(11,2)) / 2^11 = 134 / 2048."""
    ours, theirs = counts(20, 9, 2, 10)
    t = only_test(answered({"other": {(1, 1): ours}, "dot_product": {(1, 1): theirs}}))
    assert (t.examples, t.finetunings, t.method) == (41, 1, "McNemar, exact")
    assert t.p_value == pytest.approx(134 / 2048) == t.p_value_holm
    assert t.difference == pytest.approx(7 / 41)
    assert (t.each[0].only, t.each[0].only_baseline) == (9, 2)


def test_the_bootstrap_interval_is_near_the_normal_one(answered):
    ours, theirs = counts(500, 160, 110, 230)
    t = only_test(answered({"other": {(1, 1): ours}, "dot_product": {(1, 1): theirs}}))
    d = ours - theirs
    half = 1.96 * d.std() / math.sqrt(len(d))
    assert t.ci95 == pytest.approx((d.mean() - half, d.mean() + half), abs=0.004)


def test_equal_answers_are_undecided(answered):
    ours, _ = counts(20, 9, 2, 10)
    t = only_test(answered({"other": {(1, 1): ours}, "dot_product": {(1, 1): ours}}))
    assert (t.difference, t.p_value, t.ci95) == (0, 1.0, (0, 0))


def test_several_pairs_answer_the_same_examples(answered):
    """Three pairs of equal models are one pair three times: with McNemar's p, where three times the examples, which
    they are not, would have p < 0.001."""
    ours, theirs = counts(20, 9, 2, 10)
    keys = [(1, 1), (1, 2), (2, 1), (2, 2)]
    t = only_test(answered({"other": dict.fromkeys(keys, ours), "dot_product": dict.fromkeys(keys, theirs)}))
    assert t.finetunings == 4 and t.method.startswith("randomisation")
    assert t.p_value == pytest.approx(134 / 2048, abs=0.008)  # three standard errors of 9,999 draws
    assert [one.p_value for one in t.each] == [pytest.approx(134 / 2048)] * 4


def test_other_scores_are_randomised(answered):
    rng = np.random.default_rng(3)

    def pearson(labels, predictions):
        return stats.pearsonr(labels, predictions).statistic

    labels = rng.normal(size=31)
    good, poor = labels + rng.normal(size=31) * 0.3, labels + rng.normal(size=31) * 3
    t = only_test(
        answered({"other": {(1, 1): (labels, good)}, "dot_product": {(1, 1): (labels, poor)}}, "pearson", pearson)
    )
    assert t.difference == pytest.approx(pearson(labels, good) - pearson(labels, poor))
    assert t.p_value < 0.01 and t.ci95[0] > 0 and t.each == ()


def test_holm_is_over_all_tasks_and_mechanisms(fabricate):
    directory = fabricate(
        effects={"dot_product": 0, "a": 0, "b": 0}, seeds=(1,), tasks={"x": 0.5, "y": 0.5}, task_seeds=1
    )
    rng = np.random.default_rng(0)
    for place in directory.glob("runs/*/*/tasks/*/seed-1"):
        lines = [{"split": "v", "index": i, "label": 1, "prediction": int(rng.integers(2))} for i in range(37)]
        (place / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tests = find(read_study(directory)).examples
    assert len(tests) == 4
    least = min(tests, key=lambda t: t.p_value)
    assert least.p_value_holm == pytest.approx(min(1, 4 * least.p_value))


def test_models_that_answered_other_examples_are_not_compared(answered, edit):
    ours, theirs = counts(20, 9, 2, 10)
    t = only_test(answered({"other": {(1, 1): ours}, "dot_product": {(1, 1): theirs[:-1]}}))
    assert t.p_value is None and "not answer the same examples" in t.note


def test_without_saved_answers_it_says_so(whole):
    tests = find(read_study(whole)).examples
    assert tests and all(t.p_value is None and "not in the records" in t.note for t in tests)


def test_texts_bring_the_scores_of_their_examples(answered, edit):
    ours, theirs = counts(20, 9, 2, 10)
    directory = answered({"other": {(1, 1): ours}, "dot_product": {(1, 1): theirs}}, "exact_match")
    for file in directory.rglob("predictions.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            right = float(line.pop("prediction") == line["label"])
            line |= {"label": {"text": ["yes"]}, "prediction": "a text", "metrics": {"exact_match": right}}
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert only_test(directory).p_value == pytest.approx(134 / 2048)


def test_the_report_tells_both_tests_and_where_they_disagree(answered):
    """Three seeds that differ much among themselves, many examples: only the examples' test finds the difference."""
    rng = np.random.default_rng(1)

    def right(rate):
        return (rng.random(997) < rate).astype(int)

    rates = {"other": (0.9, 0.72, 0.71), "dot_product": (0.7, 0.7, 0.7)}
    answers = {name: {(s, 1): right(rate) for s, rate in enumerate(of, start=1)} for name, of in rates.items()}
    directory = answered(answers)
    found = write_report(directory)
    text = (directory / "report.md").read_text().replace("\\", "")
    assert "Two tests stand side by side" in text
    assert "whether their mechanisms do is open: other on task (better)" in text
    assert "| Over examples | Holm p |" in text and "McNemar's exact test for every pair" in text
    (row,) = found["example_tests"]
    assert row["p_value_holm"] < 0.05 and len(row["pairs"]) == 3
    assert {"seed", "task_seed", "only", "only_baseline", "p_value"} == row["pairs"][0].keys()
    assert next(c["verdict"] for c in found["comparisons"] if c["metric"] == "task") == "undecided"
