"""Chance and the statistics of a suite, by hand."""

import numpy as np
import pytest
from scipy import stats

from leanformer.reporting.analysis import suite
from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.analysis.suite import interquartile_mean, probability_of_improvement, resampled
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([[0.0, 1.0], [2.0, 9.0]])) == pytest.approx(1.5)


def test_probability_of_improvement_by_hand():
    """Of the four pairs 1-0, 1-2, 2-0, 2-2: won, lost, won, tied."""
    assert probability_of_improvement(np.array([[1.0], [2.0]]), np.array([[0.0], [2.0]])) == 2.5 / 4


def test_the_same_scores_are_an_even_chance_in_every_resample():
    scores = np.arange(6.0).reshape(3, 2)
    assert resampled(probability_of_improvement, scores, scores) == pytest.approx((0.5, 0.5))


def covered(statistic, truth, arms, monkeypatch, times=200):
    """The fraction of simulated suites whose interval holds the truth."""
    monkeypatch.setattr(suite, "RESAMPLES", 499)
    rng = np.random.default_rng(0)
    intervals = [resampled(statistic, *arms(rng)) for _ in range(times)]
    return np.mean([low <= truth <= high for low, high in intervals])


def test_the_interval_of_the_interquartile_mean_covers(monkeypatch):
    """Scores 0.3 + u_i + e_it, symmetric about 0.3, so that is their interquartile mean. A seed's tasks share u_i:
    to draw each task on its own would cover far less."""

    def scores(rng):
        return (0.3 + rng.normal(0, 0.1, (20, 1)) + rng.normal(0, 0.05, (20, 5)),)

    assert 0.89 <= covered(interquartile_mean, 0.3, scores, monkeypatch) <= 0.99


def test_the_interval_of_the_probability_of_improvement_covers(monkeypatch):
    """X ~ N(0.1, 0.1^2), Y ~ N(0, 0.1^2): P(X > Y) = Phi(1 / sqrt(2))."""

    def scores(rng):
        return rng.normal(0.1, 0.1, (20, 4)), rng.normal(0.0, 0.1, (20, 4))

    truth = float(stats.norm.cdf(1 / np.sqrt(2)))
    assert 0.89 <= covered(probability_of_improvement, truth, scores, monkeypatch) <= 0.99


def test_probability_of_improvement_is_mann_and_whitneys_u():
    ours, theirs = np.random.default_rng(1).integers(0, 5, (2, 7, 3)).astype(float)
    u = [stats.mannwhitneyu(ours[:, t], theirs[:, t]).statistic for t in range(3)]
    assert probability_of_improvement(ours, theirs) == pytest.approx(np.mean(u) / 49)


@pytest.fixture
def tasks_of(fabricate, edit):
    """`tasks_of(names, seeds, chance)`: dot_product scores 0.8 on each task, symmetric 0.75."""

    def make(names, seeds=(1, 2, 3), chance=0.5):
        effects = {"dot_product": 0.0, "symmetric": 0.0}
        directory = fabricate(effects=effects, seeds=seeds, tasks=dict.fromkeys(names, 0.8), task_seeds=1)
        for file in directory.glob("runs/*/seed-*/tasks/*/seed-1/run.json"):
            told = {"score": 0.75 if "symmetric" in file.parts else 0.8}
            told |= {} if chance is None else {"chance": chance}
            edit(file, lambda record, told=told: record["results"].update(told))
        return directory

    return make


@pytest.mark.parametrize(
    "lacking",
    [{"names": ["sst2"]}, {"names": ["sst2", "rte"], "seeds": (1, 2)}, {"names": ["sst2", "rte"], "chance": None}],
)
def test_too_few_tasks_or_seeds_or_an_unknown_chance_leave_the_suite_out(tasks_of, lacking):
    findings = find(read_study(tasks_of(**lacking)))
    assert suite.suites(findings) == []
    assert suite.suite_sentence(findings, []).startswith("Statistics over the whole suite are left out")


def test_a_report_has_the_suite(tasks_of):
    """Chance is one half, so a score of 0.75 counts as 0.5, and 0.8 as 0.6."""
    directory = tasks_of(["sst2", "rte"])
    (one,) = write_report(directory)["suite"]
    text = (directory / "report.md").read_text()
    assert one["attention"] == "symmetric" and one["seeds"] == [1, 2, 3]
    assert one["interquartile_mean"]["value"] == pytest.approx(0.5)
    assert one["baseline_interquartile_mean"]["value"] == pytest.approx(0.6)
    assert one["probability_of_improvement"] == {"value": 0.0, "ci95": [0.0, 0.0]}
    assert "2 tasks together (sst2 and rte)" in text
